"""Limits per HTTP server and client: connections, time for a request, memory of sessions."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_CONNECTIONS = 4096
_LEAST_CONNECTIONS = 16
_RESERVED_FILES = 128
"""Descriptors kept for the database, mail servers, attachments and other files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Limits of one server; times in seconds, sizes in bytes.

    Headers must arrive within `header_seconds`. A body gets `body_seconds`, plus a second for each `body_rate` bytes
    received: a large upload on a slow line succeeds, a client that sends a byte now and then is dropped. A client that
    reads nothing for `write_seconds` is dropped too.
    """

    connections: int = _MOST_CONNECTIONS
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    body_rate: float = 20_000.0
    write_seconds: float = 60.0
    header_bytes: int = 32 * 1024
    session_idle_seconds: float = 15 * 60.0
    sessions: int = 2500


def connections_within(most_files: int | None) -> int:
    """Return how many connections leave enough of `most_files` descriptors for everything else."""
    if most_files is None:
        return _MOST_CONNECTIONS
    reserved = min(_RESERVED_FILES, most_files // 2)
    return max(_LEAST_CONNECTIONS, min(_MOST_CONNECTIONS, most_files - reserved))
