"""Finds the addresses and hosts that header fields direct answers to: receipts and unsubscribing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from outspool.domain.address import parse_mailbox
from outspool.domain.address_wrapping import unwrap
from outspool.domain.email import Mailbox
from outspool.domain.provider_headers import ADDRESSES
from outspool.errors import InvalidAddress, InvalidArgument, brief

_UNSUBSCRIBE = "list-unsubscribe"
_URI = re.compile(r"<([^<>]*)>")
_MORE_RECIPIENTS = frozenset({"to", "cc", "bcc", "reply-to"})
"""Fields of a ``mailto`` (RFC 6068 §2) that contain addresses."""


def find_addresses(headers: Mapping[str, str], *, internal: Collection[str] = ()) -> list[Mailbox]:
    """Return each address in the fields of `headers`; raises `InvalidAddress`. `internal` as in `parse_mailbox`."""
    return [
        _parse_plain(address, f"headers: {name}", internal)
        for name, value in headers.items()
        for address in _extract_addresses(name.lower(), value)
    ]


def _parse_plain(text: str, field: str, internal: Collection[str]) -> Mailbox:
    """Return the mailbox of a field that is sent as it stands, so that nothing may be around the address."""
    if unwrap(text) != text.strip(" "):
        raise InvalidAddress(f"{field}: {brief(text)} is not one address.", "Write it like name@example.com.")
    return parse_mailbox(text, field, internal=internal)


def find_unsubscribe_hosts(headers: Mapping[str, str]) -> list[str]:
    """Return the lower-case host of each web address in ``List-Unsubscribe``."""
    uris = (uri for name, value in headers.items() if name.lower() == _UNSUBSCRIBE for uri in _URI.findall(value))
    return [_host(uri) for uri in uris if not uri.lower().startswith("mailto:")]


def _extract_addresses(name: str, value: str) -> Iterator[str]:
    if name in ADDRESSES:
        yield from value.split(",")
    elif name == _UNSUBSCRIBE:
        for uri in _URI.findall(value):
            if uri.lower().startswith("mailto:"):
                yield from _mailto(uri)


def _mailto(uri: str) -> Iterator[str]:
    path, _, query = uri[len("mailto:") :].partition("?")
    for part in path.split(","):
        if part:
            yield unquote(part)
    for field, value in parse_qsl(query.replace("+", "%2B"), separator="&", keep_blank_values=True):
        if field.strip().lower() in _MORE_RECIPIENTS:
            yield from (one for one in value.split(",") if one)


def _host(uri: str) -> str:
    try:
        host = urlsplit(uri).hostname
    except ValueError:
        host = None
    # Browsers read a backslash as a slash, and text before "@" as a user name: both could hide the real host.
    if not host or "\\" in uri or "@" in urlsplit(uri).netloc:
        raise InvalidArgument(f"headers: List-Unsubscribe {brief(uri)} is no plain web address.", "Write it without @.")
    return host.rstrip(".").lower()
