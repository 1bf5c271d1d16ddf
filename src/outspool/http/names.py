"""Which Host and Origin headers are let in: a name and a port, compared whole and never by their beginning."""

from __future__ import annotations

from collections.abc import Sequence

_LAST_PORT = 65535


class AllowedNames:
    """Hosts such as ``mail.example.com`` or ``[::1]``, or origins such as ``http://localhost``.

    An entry without port, or with ``:*``, allows every port; one with a port allows that one.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """Take the entries as an operator writes them."""
        self._any_port = set()
        self._exact = set()
        for entry in entries:
            name = entry.strip().lower()
            if name.endswith(":*"):
                self._any_port.add(name.removesuffix(":*"))
            elif _has_port(name):
                self._exact.add(name)
            else:
                self._any_port.add(name)

    def allows(self, header: str) -> bool:
        """Return whether a header is one of them (RFC 9110 §7.2: names are compared without regard to case)."""
        name = header.lower()
        if name in self._exact or name in self._any_port:
            return True
        host, colon, port = name.rpartition(":")
        return bool(colon) and host in self._any_port and port.isascii() and _is_port(port)


def _has_port(name: str) -> bool:
    _, colon, port = name.rpartition(":")
    return bool(colon) and port.isascii() and port.isdigit()


def _is_port(text: str) -> bool:
    return text.isdigit() and len(text) <= len(str(_LAST_PORT)) and int(text) <= _LAST_PORT
