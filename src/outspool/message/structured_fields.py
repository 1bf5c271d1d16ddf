"""Custom header fields with a grammar: each is checked against it, and never encoded as a whole.

They control unsubscribe buttons (RFC 2369; RFC 8058 for one click, which is offered only if the sending server's DKIM
signature covers both fields), list folders (RFC 2919) and automatic replies (RFC 3834, and the older Precedence).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from outspool.errors import InvalidArgument, brief
from outspool.message.header_fields import custom_field, fold, phrase_words

_ONE_CLICK = "List-Unsubscribe=One-Click"
_URI = re.compile(r"<(?:https?://|mailto:)[!-;=?-~]+>", re.IGNORECASE)
_URIS = re.compile(rf"{_URI.pattern}(?: *, *{_URI.pattern})*", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?.*\?=")
"""Programs that decode every field would change such a URI; in a URI it can be written as %3D?."""
_LIST_ID = re.compile(r"(.*)(<[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+>)")
_KEYWORD = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?: *; *[A-Za-z0-9-]+=[A-Za-z0-9.-]+)*")


def format_custom_fields(headers: Mapping[str, str]) -> list[str]:
    """Return the caller's fields, in order.

    Raises `InvalidArgument` for what no header can hold, and for values that mail programs would ignore.
    """
    values = {name.lower(): value for name, value in headers.items()}
    if "list-unsubscribe-post" in values:
        _check_one_click(values.get("list-unsubscribe", ""))
    return [_WRITERS.get(name.lower(), custom_field)(name, value) for name, value in headers.items()]


def _check_one_click(unsubscribe: str) -> None:
    """Reject a one-click field without exactly one address to click (RFC 8058 §3.1)."""
    schemes = [uri[1:].partition(":")[0].lower() for uri in _URI.findall(unsubscribe)]
    if schemes.count("https") != 1 or "http" in schemes:
        raise InvalidArgument(
            "List-Unsubscribe-Post needs a List-Unsubscribe with exactly one https URL.",
            "Give List-Unsubscribe: <https://…> beside it, or leave it out.",
        )


def _list_unsubscribe(name: str, value: str) -> str:
    if not _URIS.fullmatch(value.strip(" ")) or _ENCODED_WORD.search(value):
        raise _malformed_error(
            name, value, "Write it like <https://example.com/leave?id=1>, <mailto:leave@example.com>."
        )
    uris = _URI.findall(value)
    return fold(name, [*(f"{uri}," for uri in uris[:-1]), uris[-1]])


def _list_unsubscribe_post(name: str, value: str) -> str:
    if value.strip(" ") != _ONE_CLICK:
        raise _malformed_error(name, value, f"It can only be {_ONE_CLICK}.")
    return fold(name, [_ONE_CLICK])


def _list_id(name: str, value: str) -> str:
    match = _LIST_ID.fullmatch(value.strip(" "))
    if match is None:
        raise _malformed_error(name, value, "Write it like Weekly news <weekly.example.com>.")
    description = match[1].strip(" ")
    return fold(name, [*(phrase_words(name, description) if description else ()), match[2]])


def _keyword(name: str, value: str) -> str:
    if not _KEYWORD.fullmatch(value.strip(" ")):
        raise _malformed_error(name, value, "Write one keyword, like auto-generated or bulk.")
    return fold(name, value.split())


def _malformed_error(name: str, value: str, hint: str) -> InvalidArgument:
    return InvalidArgument(f"headers: {name} {brief(value)} would not be understood.", hint)


_WRITERS: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {
        "list-unsubscribe": _list_unsubscribe,
        "list-unsubscribe-post": _list_unsubscribe_post,
        "list-id": _list_id,
        "auto-submitted": _keyword,
        "precedence": _keyword,
    }
)
