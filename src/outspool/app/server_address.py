"""The mail server as people write it: a name, ``host:port``, ``[::1]:25``, ``smtps://host`` or a trailing dot."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SECURITY_BY_SCHEME = {
    "smtp": None,
    "smtps": "tls",
    "ssl": "tls",
    "submissions": "tls",
    "submission": None,
    "tls": "tls",
}
_BRACKETS = re.compile(r"\[([^\[\]]+)\](?::(\d{1,5}))?")
_PORT = re.compile(r"([^:]+):(\d{1,5})")
_NOT_IN_NAMES = re.compile(r"[\s,;/\\<>\"'%?#=@\[\]:]")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A host, with the port and the security that were written with it, if any."""

    host: str
    port: int | None = None
    security: str | None = None


def parse_server(text: str) -> ServerAddress:
    """Parse the address of a mail server. Raises `ValueError` with a sentence that does not repeat it."""
    scheme, rest = None, text.strip()
    if found := _SCHEME.match(rest):
        scheme, rest = found[1].lower(), rest[found.end() :]
        if scheme not in _SECURITY_BY_SCHEME:
            raise ValueError("is a web address; name the mail server, like smtp.example.com")
    if "@" in rest:
        raise ValueError("has an email address or a login in it; name the server alone, like smtp.example.com")
    host, port = _split_port(rest.removesuffix("/"))
    return ServerAddress(host, port, _SECURITY_BY_SCHEME[scheme] if scheme else None)


def is_loopback(host: str) -> bool:
    """Tell whether the host, as written, can only be this machine."""
    try:
        name = parse_server(host).host
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def _split_port(text: str) -> tuple[str, int | None]:
    if found := _BRACKETS.fullmatch(text):
        return _check_ipv6(found[1]), int(found[2]) if found[2] else None
    if text.count(":") > 1:
        return _check_ipv6(text), None
    found = _PORT.fullmatch(text)
    name, port = (found[1], int(found[2])) if found else (text, None)
    name = name.rstrip(".")
    if not name or not name.isprintable() or _NOT_IN_NAMES.search(name):
        raise ValueError("is not the name of one server; write it like smtp.example.com")
    return name, port


def _check_ipv6(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.removeprefix("IPv6:")))
    except ValueError:
        raise ValueError(
            "is not an address; write an IPv6 address like [::1], and a port after it like [::1]:25"
        ) from None
