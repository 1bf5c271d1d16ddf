"""Takes off what programs and models put around an address: quotes, ``mailto:``, a Markdown link, invisible characters.

Only what leaves no doubt is taken off; everything else stays for `domain.address` to refuse.
"""

from __future__ import annotations

import re

_AROUND = " \u00a0\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Marks that address books copy along with a bare address; before a name they may be meant."""
_MARKDOWN = re.compile(r"\[(?P<label>[^\[\]<>]*)\]\((?P<target>[^()<>\s]+)\)")
_MAILTO = re.compile(r"mailto:(?P<address>[^?@\s]+@[^?@\s]+)", re.IGNORECASE)
_BRACKETED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>]*)>")
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u201e": "\u201c", "\u2018": "\u2019", "\u00ab": "\u00bb"}
_QUOTED_NAME = re.compile(r'"[^"]*"\s*<')


def unwrap(text: str) -> str:
    """Return `text` without what stands around one mailbox; unchanged if there is nothing, or if it is ambiguous.

    ``mailto:bob@x.com``, ``[Bob](mailto:bob@x.com)`` and ``'bob@x.com'`` become ``bob@x.com``, the second with its
    name.
    """
    text = text.strip(_AROUND)
    if "<" not in text:
        text = text.strip(_AROUND + _DIRECTIONS)
    while (inner := _strip_quotes(text)) != text:
        text = inner.strip(_AROUND)
    if (link := _MARKDOWN.fullmatch(text)) is not None:
        return _read_link(link["label"].strip(_AROUND), link["target"], text)
    if (bracketed := _BRACKETED.fullmatch(text)) is not None:
        return f"{bracketed['name']}<{_strip_mailto(bracketed['address'].strip(_AROUND))}>"
    return _strip_mailto(text)


def _strip_quotes(text: str) -> str:
    """Return what is inside a pair of quotes around a whole address; a quoted local part is no such pair."""
    if len(text) < len("'@'") or _QUOTES.get(text[0]) != text[-1]:
        return text
    inner = text[1:-1]
    return inner if "@" in inner and text[0] not in inner and text[-1] not in inner else text


def _strip_mailto(text: str) -> str:
    found = _MAILTO.fullmatch(text)
    return found["address"] if found else text


def _read_link(label: str, target: str, text: str) -> str:
    """Return the mailbox of a Markdown link. A label that is another address than the target is ambiguous."""
    address, shown = _strip_mailto(target), _strip_mailto(label)
    if "@" not in address or "@" in shown:
        return address if shown.lower() == address.lower() else text
    return f"{label} <{address}>" if label else address
