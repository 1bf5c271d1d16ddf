"""The plain text that stands beside an HTML body (RFC 2046 §5.1.4)."""

from __future__ import annotations

import re

_BLOCK_TAG = re.compile(r"<(/?)(table|p|div|h[1-6]|[uo]l)\b", re.IGNORECASE)
_TABLE_TAG = re.compile(r"<(/?)(?:table|thead|tbody|tfoot|tr|td|th)\b", re.IGNORECASE)
_WIDE_SPAN = re.compile(r"(?:col|row)span(?!\s*=\s*[\"']?[1-9][\"'\s>])", re.IGNORECASE)
_PICTURE = re.compile(r"data:image/[^\"'\s)>]*", re.IGNORECASE)
_LONGEST = 250_000
"""Characters of HTML, pictures written into it apart; more would hold up everything else for a good part of a second.

It is a multiple of what Gmail shows of a message.
"""
_LARGEST_GRID = 100_000
"""Characters of HTML in which tables stay tables: a grid is padded to its widest row, and so may grow hugely."""
_MOST_GROWTH = 2
_SMALL = 2_000
"""Characters that do not matter; beyond them a text longer than the HTML times the growth is mostly padding."""
_ESCAPED_MARKER = re.compile(r"^([ \t]*\d*)\\(?=[-+*>#.)])", re.MULTILINE)


def text_alternative(html: str) -> str:
    """Return `html` as text for a person: links keep their URL, scripts, styles and hidden text are gone.

    Empty when there is nothing to read in it, such as a lone image, or no way to read it, or far too much. Lists,
    headings and tables come out in the plain notation of Markdown.
    """
    html = _PICTURE.sub("", html)
    if len(html) > _LONGEST:
        return ""
    text = _converted(html if _has_only_grids(html) else _without_grids(html))
    if len(text) > _MOST_GROWTH * len(html) + _SMALL:
        text = _converted(_without_grids(html))
    if "\\" in text:
        text = _ESCAPED_MARKER.sub(r"\1", text)
    text = "\n".join([line.rstrip() for line in text.split("\n")]).strip("\n")
    return f"{text}\n" if text.strip() else ""


def _converted(html: str) -> str:
    # Imported here: 35 ms and 20 MB that no plain email needs.
    from html_to_markdown import ConversionOptions, convert
    from html_to_markdown.exceptions import ConversionError

    options = ConversionOptions(
        extract_metadata=False,
        compact_tables=True,
        skip_images=True,
        highlight_style="none",
        code_block_style="indented",
    )
    try:
        return convert(html, options).content or ""
    except ConversionError:
        return ""  # the HTML itself can still be sent


def _without_grids(html: str) -> str:
    return _TABLE_TAG.sub(r"<\1div", html)


def _has_only_grids(html: str) -> bool:
    """Whether its tables read well as rows and columns: modest ones, with no blocks or tables inside.

    The others arrange the page, as newsletters do, and read well from top to bottom.
    """
    if not _TABLE_TAG.search(html):
        return True  # none at all, as most: what follows takes longer than the conversion
    if len(html) > _LARGEST_GRID or _WIDE_SPAN.search(html):
        return False
    depth = 0
    for tag in _BLOCK_TAG.finditer(html):
        is_end, is_table = bool(tag[1]), tag[2].lower() == "table"
        if depth and not is_end:
            return False
        if is_table:
            depth = max(0, depth - 1) if is_end else depth + 1
    return True
