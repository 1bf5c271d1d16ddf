"""Parses HTML into a stream of elements and text, in linear time and bounded depth for any input.

HTML from strangers may be nested without end, broken, or made to overload a parser. The output is always well-formed
and at most `MAX_DEPTH` deep, so that its consumers need not be careful. It follows the HTML standard as far as the
*text* of a page depends on it: an unclosed comment or tag at the end is dropped, as browsers do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape

MAX_DEPTH = 200
"""Nesting depth; deeper elements are ignored but their text is kept."""

VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
)
_RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
"""Elements whose content is not markup; it ends at their end tag."""
_UNSEEN = frozenset(
    {
        *("script", "style", "title", "xmp", "iframe", "noembed", "noframes", "template", "head", "noscript"),
        *("object", "svg", "math", "select", "audio", "video", "canvas"),
    }
)
_CLOSED_BY = {
    "li": ("li", {"ul", "ol", "table"}),
    "dt": ("dt dd", {"dl", "table"}),
    "dd": ("dt dd", {"dl", "table"}),
    "td": ("td th", {"tr", "table"}),
    "th": ("td th", {"tr", "table"}),
    "tr": ("tr", {"table"}),
    "option": ("option", {"select"}),
}
"""Which open elements end where another begins, and the elements within which they are searched."""
_CELLS = frozenset({"td", "th", "table"})
_PARTS_OF_TABLES = frozenset({"table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption"})
_ENDS_PARAGRAPH = frozenset(
    {
        *("p", "div", "ul", "ol", "dl", "pre", "blockquote", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr"),
        *("section", "article", "header", "footer", "main", "nav", "aside", "address", "figure", "form", "center"),
    }
)

_NAME = re.compile(r"[A-Za-z][^\s/>\x00]*")
_ATTRIBUTE = re.compile(
    r"""[\s/]*+([^\s/>=][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*+|(?=>))))?"""
)
_TAIL = re.compile(r"[^>]*+>")
_HUGE_REFERENCE = re.compile(r"&#(?:[0-9]{8,}+|[xX][0-9A-Fa-f]{8,}+);?")
_WHOLE_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});")
"""In an attribute ``&copy=2`` is a URL parameter, and only ``&copy;`` is a character reference."""
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_LONGEST_STYLE = 2_000


@dataclass(frozen=True, slots=True)
class Text:
    """Text with character references resolved and white space unchanged."""

    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an element. Void elements have no `End`."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """The end of the innermost open element."""

    name: str


Event = Text | Start | End


def read_html(html: str) -> Iterator[Event]:
    """Yield the visible content of `html`; every `Start` except of void elements has its `End`."""
    return _Reader().read(html)


def read_tags(html: str) -> Iterator[Start]:
    """Yield the start of every element in `html`, also of hidden ones."""
    return (token for token in _tokens(html) if isinstance(token, Start))


class _Reader:
    """The open elements of one page."""

    def __init__(self) -> None:
        self._open: list[tuple[str, bool]] = []
        """Names, and whether the element hides its content."""
        self._hidden = 0
        self._too_deep: Counter[str] = Counter()

    def read(self, html: str) -> Iterator[Event]:
        for token in _tokens(html):
            if isinstance(token, Text):
                if not self._hidden:
                    yield token
            elif isinstance(token, Start):
                yield from self._start(token)
            else:
                yield from self._end(token.name)
        yield from self._pop_to(0)

    def _start(self, tag: Start) -> Iterator[Event]:
        yield from self._close_before(tag.name)
        if tag.name in VOID:
            if not self._hidden and not _is_hidden(tag):
                yield tag
        elif len(self._open) >= MAX_DEPTH:
            self._too_deep[tag.name] += 1
        else:
            hides = tag.name in _UNSEEN or _is_hidden(tag)
            self._open.append((tag.name, hides))
            self._hidden += hides
            if not self._hidden:
                yield tag

    def _end(self, name: str) -> Iterator[Event]:
        if self._too_deep[name]:
            self._too_deep[name] -= 1
            return
        stop = frozenset() if name in _PARTS_OF_TABLES else _CELLS
        place = self._find({name}, stop)
        if place is not None:
            yield from self._pop_to(place)
        elif name == "p" and not self._hidden:
            yield Start("p")  # a lone end tag is an empty paragraph
            yield End("p")

    def _close_before(self, name: str) -> Iterator[Event]:
        """End open elements that a start tag of this `name` closes implicitly."""
        if name in _ENDS_PARAGRAPH and (place := self._find({"p"}, _CELLS | {"li", "button"})) is not None:
            yield from self._pop_to(place)
        if name in _CLOSED_BY:
            closed, inside = _CLOSED_BY[name]
            if (place := self._find(set(closed.split()), frozenset(inside))) is not None:
                yield from self._pop_to(place)

    def _find(self, names: set[str], stop: frozenset[str]) -> int | None:
        """Return the index of the innermost open element in `names`, unless one in `stop` encloses it."""
        for place in range(len(self._open) - 1, -1, -1):
            name = self._open[place][0]
            if name in names:
                return place
            if name in stop:
                return None
        return None

    def _pop_to(self, place: int) -> Iterator[Event]:
        while len(self._open) > place:
            name, hides = self._open.pop()
            if not self._hidden:
                yield End(name)
            self._hidden -= hides


def _tokens(html: str) -> Iterator[Event]:
    """Yield tags as written and the text between them; each character is examined a few times at most."""
    place: int | None = 0
    while place is not None:
        angle = html.find("<", place)
        yield from _text(html[place:] if angle < 0 else html[place:angle])
        if angle < 0:
            return
        events, place = _markup(html, angle)
        yield from events


def _markup(html: str, angle: int) -> tuple[list[Event], int | None]:
    """Return the markup at the ``<`` and its end; the end is None if it is unclosed and hides the rest."""
    if (name := _NAME.match(html, angle + 1)) is not None:
        return _element(html, name)
    if html.startswith("</", angle):
        place = html.find(">", angle) + 1
        name = _NAME.match(html, angle + 2)
        return [End(name[0].lower())] if place and name else [], place or None
    if html.startswith(("<!", "<?"), angle):
        return [], _end_of_comment(html, angle)
    return [Text("<")], angle + 1


def _element(html: str, name: re.Match[str]) -> tuple[list[Event], int | None]:
    """Return a start tag; for a raw element also its content and end."""
    start, place = _start_tag(html, name)
    if start is None:
        return [], None
    if start.name not in _RAW:
        return [start], place
    content, place = _raw(html, start.name, place)
    return [start, *_text(content), End(start.name)], place


def _end_of_comment(html: str, angle: int) -> int | None:
    """Return the end of a comment, or of what browsers take for one; None if it is unclosed."""
    mark = "-->" if html.startswith("<!--", angle) else ">"
    end = html.find(mark, angle + 2)  # "<!-->" is a complete comment
    return end + len(mark) if end >= 0 else None


def _start_tag(html: str, name: re.Match[str]) -> tuple[Start | None, int]:
    """Return the tag and its end; None for an unclosed tag."""
    attributes: dict[str, str] = {}
    place = name.end()
    while (found := _ATTRIBUTE.match(html, place)) is not None:
        value = next((v for v in found.groups()[1:] if v is not None), "")
        attributes.setdefault(found[1].lower(), _WHOLE_REFERENCE.sub(lambda one: unescape(one[0]), value))
        place = found.end()
    tail = _TAIL.match(html, place)
    if tail is None:
        return None, len(html)
    return Start(name[0].lower(), attributes), tail.end()


def _raw(html: str, name: str, place: int) -> tuple[str, int]:
    """Return the content before the end tag, and the end; nothing if there is no end tag."""
    end = re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE).search(html, place)
    if end is None:
        return "", len(html)
    tail = _TAIL.match(html, end.end())
    return html[place : end.start()], tail.end() if tail else len(html)


def _text(raw: str) -> Iterator[Text]:
    if raw:
        # Python refuses to parse numbers of thousands of digits; no character has one.
        yield Text(unescape(_HUGE_REFERENCE.sub("\N{REPLACEMENT CHARACTER}", raw)) if "&" in raw else raw)


def _is_hidden(tag: Start) -> bool:
    if "hidden" in tag.attributes:
        return True
    style = tag.attributes.get("style", "")
    return bool(style) and _HIDING.search(style[:_LONGEST_STYLE]) is not None
