"""Reduces a page to a few plain elements for the Markdown converter, or to plain text.

Time and memory are proportional to the page. The maximum size of the converted text is computed before the conversion:
quotes and lists add a prefix to each line for each level, so a small page could become a huge text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from outspool.message.html_reader import VOID, End, Event, Start, Text, read_html

_RENAMED = {
    **{
        name: name for name in ("a", "blockquote", "ul", "ol", "li", "dl", "dt", "dd", "pre", "table", "tr", "td", "th")
    },
    **{name: name for name in ("p", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "code", "del", "q")},
    **dict.fromkeys(("b",), "strong"),
    **dict.fromkeys(("i", "cite", "var", "dfn"), "em"),
    **dict.fromkeys(("kbd", "samp", "tt"), "code"),
    **dict.fromkeys(("s", "strike"), "del"),
    **dict.fromkeys(("div", "section", "article", "header", "footer", "main", "nav", "aside", "address"), "div"),
    **dict.fromkeys(("figure", "figcaption", "form", "fieldset", "legend", "details", "summary", "center"), "div"),
    **dict.fromkeys(("caption", "hgroup", "dialog", "search", "listing", "menu", "dir"), "div"),
}
"""Replacements of elements; of all others only the content is kept."""
_INLINE = frozenset({"a", "strong", "em", "code", "del", "q"})
_NESTING = {"blockquote": 2, "ul": 4, "ol": 4, "dd": 4}
"""Characters that one level adds before each line."""
_CELLS = frozenset({"td", "th"})
_GRID = frozenset({"table", "tr", "td", "th"})
_NO_BLOCKS = frozenset({"p", "div", "table", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6"})
"""Elements that, inside a table, show that it is there for layout."""

_LONGEST_LINK = 2_000
_NARROW_SPAN = re.compile(r"\s*[1-9]\s*", re.ASCII)
_START = re.compile(r"[0-9]{1,6}", re.ASCII)
_WHITE_SPACE = re.compile(r"\s+")
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class SimplePage:
    """Well-formed HTML of few elements, and an upper bound of its length as Markdown."""

    html: str
    text_size: int


def simplify(html: str, *, deepest_nesting: int) -> SimplePage:
    """Return a simple page; quotes and lists nested deeper than `deepest_nesting` are merged with the outer one.

    Tables stay if they read well as rows and columns; others become paragraphs.
    """
    events = list(read_html(html))
    return _Writer(deepest_nesting, grids=_has_only_grids(events)).write(events)


def plain_text(html: str) -> str:
    """Return the text of `html` in lines and paragraphs, without any marks; never longer than `html`."""
    parts: list[str] = []
    depth_of_pre = 0
    for event in read_html(html):
        if isinstance(event, Text):
            parts.append(event.text if depth_of_pre else _WHITE_SPACE.sub(" ", event.text))
            continue
        depth_of_pre += (event.name == "pre") * (1 if isinstance(event, Start) else -1)
        if event.name == "br":
            parts.append("\n")
        elif event.name in _CELLS:
            parts.append(" ")
        elif _RENAMED.get(event.name, "a") not in _INLINE:
            parts.append("\n" if event.name in ("li", "tr", "dt", "dd", "ul", "ol") else "\n\n")
    lines = [line.strip() for line in "".join(parts).split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _has_only_grids(events: list[Event]) -> bool:
    """Tell whether the tables read well as rows and columns: small ones without blocks or nested tables.

    Others are layout, as in newsletters, and read well from top to bottom.
    """
    inside = False
    for event in events:
        if isinstance(event, Text):
            continue
        if event.name == "table" and not inside:
            inside = isinstance(event, Start)
        elif isinstance(event, End) and event.name == "table":
            inside = False
        elif inside and isinstance(event, Start):
            if _RENAMED.get(event.name) in _NO_BLOCKS:
                return False
            spans = (event.attributes.get(name) for name in ("colspan", "rowspan"))
            if any(span is not None and not _NARROW_SPAN.fullmatch(span) for span in spans):
                return False
    return True


class _Writer:
    """Writes one page and computes the size of its text."""

    def __init__(self, deepest_nesting: int, *, grids: bool) -> None:
        self._deepest = deepest_nesting
        self._grids = grids
        self._parts: list[str] = []
        self._open: list[str] = []
        """What was written for each open element; empty for some."""
        self._nested = 0
        self._margin = 0
        self._size = 0
        self._cells = self._widest_row = self._rows = 0
        self._pre = 0

    def write(self, events: list[Event]) -> SimplePage:
        for event in events:
            if isinstance(event, Text):
                self._text(event.text)
            elif isinstance(event, End):
                self._end()
            elif event.name in VOID:
                self._void(event.name)
            else:
                self._start(event)
        return SimplePage("".join(self._parts), self._size)

    def _text(self, text: str) -> None:
        self._parts.append(escape(text, quote=False))
        self._size += len(text)
        if self._pre:
            self._size += text.count("\n") * (self._margin + 4)

    def _void(self, name: str) -> None:
        if name in ("br", "hr"):
            self._parts.append(f"<{name}>")
            self._line(3)
        elif name == "img" and "a" in self._open:
            self._parts.append("<img>")  # keeps a link around it non-empty

    def _start(self, tag: Start) -> None:
        name = self._name(tag)
        self._open.append(name)
        if not name:
            return
        self._parts.append(f"<{name}{''.join(self._attributes(name, tag))}>")
        if name in _NESTING:
            self._nested += 1
            self._margin += _NESTING[name]
        self._pre += name == "pre"
        self._count(name)

    def _end(self) -> None:
        name = self._open.pop()
        if not name:
            return
        self._parts.append(f"</{name}>")
        if name in _NESTING:
            self._nested -= 1
            self._margin -= _NESTING[name]
        self._pre -= name == "pre"
        if name == "table":
            self._size += self._rows * self._widest_row * 3 + self._rows * self._margin
            self._rows = self._widest_row = 0

    def _name(self, tag: Start) -> str:
        """Return the element to write; empty if only its content is kept."""
        name = _RENAMED.get(tag.name, "")
        if name in _NESTING and self._nested >= self._deepest:
            return "div" if name in ("blockquote", "dd") else ""
        if name in _GRID and not self._grids:
            return "div"
        if name == "a" and not tag.attributes.get("href"):
            return ""
        # Nesting an inline element in itself changes nothing for the reader.
        return "" if name in _INLINE and name in self._open else name

    def _attributes(self, name: str, tag: Start) -> Iterator[str]:
        if name == "a":
            yield f' href="{escape(self._link(tag.attributes["href"]))}"'
        elif name in _CELLS and (span := tag.attributes.get("colspan")):
            yield f' colspan="{span.strip()}"'
        elif name == "ol" and _START.fullmatch(start := tag.attributes.get("start", "")):
            yield f' start="{start}"'

    def _link(self, href: str) -> str:
        link = href[:_LONGEST_LINK]
        self._size += len(link) + 4
        return link

    def _count(self, name: str) -> None:
        if name in _CELLS:
            self._cells += 1
            self._widest_row = max(self._widest_row, self._cells)
        elif name == "tr":
            self._cells = 0
            self._rows += 1
        elif name in _INLINE:
            self._size += 4
        else:
            self._line(8)

    def _line(self, marks: int) -> None:
        self._size += self._margin + marks
