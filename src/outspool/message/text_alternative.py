"""The plain text that stands beside an HTML body (RFC 2046 §5.1.4)."""

from __future__ import annotations

import re
from functools import lru_cache

from outspool.message.html_simplifier import plain_text, simplify

_PICTURE = re.compile(r"data:image/[^\"'\s)>]*", re.IGNORECASE)
_LONGEST = 250_000
"""Characters of HTML, pictures written into it apart; more would hold up everything else for a good part of a second.

It is a multiple of what Gmail shows of a message.
"""
_MOST_GROWTH = 2
_SMALL = 2_000
"""Characters that do not matter; beyond them a text longer than the HTML times the growth is mostly padding."""
_DEEPEST_NESTING = 60
"""Levels of quotes and lists, more than a thread has; a page whose text would grow too much gets `_FLAT` ones."""
_FLAT = 1
_ESCAPED_MARKER = re.compile(r"^([ \t]*\d*)\\(?=[-+*>#.)])", re.MULTILINE)


@lru_cache(maxsize=4)
def build_text_alternative(html: str) -> str:
    """Return `html` as text for a person: links keep their URL, scripts, styles and hidden text are gone.

    Empty when there is nothing to read in it, such as a lone image, or no way to read it, or far too much. Lists,
    headings and tables come out in the plain notation of Markdown. Time and memory grow with the length of the HTML
    and with nothing else, and the text is never longer than twice the HTML and `_SMALL`. The last few are kept: an
    email is composed when it is accepted and when it leaves, and a batch may have one page for all.
    """
    html = _PICTURE.sub("", html)
    if len(html) > _LONGEST:
        return ""
    limit = _MOST_GROWTH * len(html) + _SMALL
    text = _convert(html, limit)
    if text is None:
        text = plain_text(html)
    if "\\" in text:
        text = _ESCAPED_MARKER.sub(r"\1", text)
    text = "\n".join([line.rstrip() for line in text.split("\n")]).strip("\n")
    return f"{text}\n" if text.strip() else ""


def _convert(html: str, limit: int) -> str | None:
    """Return `html` in Markdown; None when that would be longer than `limit`, or when it cannot be converted."""
    for nesting in (_DEEPEST_NESTING, _FLAT):
        page = simplify(html, deepest_nesting=nesting)
        if page.text_size <= limit:
            text = _markdown(page.html)
            return text if text is not None and len(text) <= limit else None
    return None


def _markdown(html: str) -> str | None:
    """Return `html` in Markdown; None when that fails.

    The page must be of `simplify`: the converter calls itself for each level, and a deep one would end the process.
    """
    # Imported here: 35 ms and 20 MB that no plain email needs.
    from html_to_markdown import ConversionOptions, convert

    options = ConversionOptions(
        extract_metadata=False,
        compact_tables=True,
        skip_images=True,
        highlight_style="none",
        code_block_style="indented",
    )
    try:
        return convert(html, options).content or ""
    except Exception:  # noqa: BLE001 - however it fails, the HTML itself can still be sent
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, and exported nowhere
            raise
        return None
