"""Compares Host and Origin headers with allowed names and ports, as a whole and not by prefix."""

from __future__ import annotations

from collections.abc import Sequence

_LAST_PORT = 65535


class AllowedNames:
    """Hosts such as ``mail.example.com`` or ``[::1]``, or origins such as ``http://localhost``.

    An entry without port, or with ``:*``, allows every port.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        """Take entries as the operator writes them."""
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
        """Tell whether a header is allowed; case does not matter (RFC 9110 §7.2)."""
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
