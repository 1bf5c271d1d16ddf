"""Builds the plain text alternative of an HTML body (RFC 2046 §5.1.4)."""

from __future__ import annotations

import re
from functools import lru_cache

from outspool.message.html_simplifier import plain_text, simplify

_PICTURE = re.compile(r"data:image/[^\"'\s)>]*", re.IGNORECASE)
_LONGEST = 250_000
"""Most characters of HTML without embedded pictures; more would delay everything else noticeably.

It is a multiple of what Gmail shows of a message.
"""
_MOST_GROWTH = 2
_SMALL = 2_000
"""Growth allowed beyond the factor, in characters; a longer text is mostly padding."""
_DEEPEST_NESTING = 60
"""Levels of quotes and lists, more than a thread has; if the text grows too much, `_FLAT` levels are used."""
_FLAT = 1
_ESCAPED_MARKER = re.compile(r"^([ \t]*\d*)\\(?=[-+*>#.)])", re.MULTILINE)


@lru_cache(maxsize=4)
def build_text_alternative(html: str) -> str:
    """Return `html` as text: links keep their URL; scripts, styles and hidden text are removed.

    Empty if there is nothing to read, if it cannot be converted, or if it is too long. Lists, headings and tables are
    written as Markdown. Time and memory are linear in the length of the HTML, and the text is never longer than twice
    the HTML plus `_SMALL`. The last few results are cached, because an email is composed at acceptance and at delivery,
    and a batch may share one page.
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
    """Return `html` as Markdown; None if it would be longer than `limit`, or cannot be converted."""
    for nesting in (_DEEPEST_NESTING, _FLAT):
        page = simplify(html, deepest_nesting=nesting)
        if page.text_size <= limit:
            text = _markdown(page.html)
            return text if text is not None and len(text) <= limit else None
    return None


def _markdown(html: str) -> str | None:
    """Return `html` as Markdown; None if that fails.

    The page must come from `simplify`: the converter recurses, and a deeply nested page would crash the process.
    """
    # Imported here because it takes 35 ms and 20 MB, which plain emails do not need.
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
    except Exception:  # noqa: BLE001 - the HTML can be sent without it
        return None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # pyo3's class, which is not exported
            raise
        return None
