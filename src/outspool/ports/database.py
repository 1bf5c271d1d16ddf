"""The database as `doctor` examines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class SchemaState(StrEnum):
    """The relation of a database's schema to this code's."""

    EMPTY = "empty"
    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"
    """An unknown revision: made by a newer outspool, or another program."""
    UNVERSIONED = "unversioned"
    """There are tables of an outbox, but no revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """The database's response time in `seconds` (None: not created yet) and `clock` (UTC; None: it has none).

    `asynchronous_standbys` are the names of standbys that may lack the last commits.
    """

    schema: SchemaState
    revision: str | None = None
    seconds: float | None = None
    clock: datetime | None = None
    asynchronous_standbys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Number of emails `due`, the oldest since `oldest_due`; due `later`; and `in_doubt`.

    `elsewhere` counts emails waiting for an outspool with another sender, without the sandbox's.
    """

    due: int
    oldest_due: datetime | None
    later: int
    in_doubt: int
    elsewhere: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Number of emails with unreadable rows, and a few examples with what is wrong."""

    count: int = 0
    examples: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """The state of `folder`: `trouble` says why no files can be stored there; `free_bytes` are left."""

    folder: str
    free_bytes: int
    trouble: str = ""


class DatabaseProbe(Protocol):
    """Examines a database without lasting changes. Raises like `EmailStore`."""

    @property
    def address(self) -> str:
        """Kind and location in words, without secrets."""
        ...

    async def health(self) -> DatabaseHealth:
        """Return its health, be it empty, old or new; an email's writes are tried and rolled back."""
        ...

    async def damage(self) -> str:
        """Return what is wrong with an SQLite file; empty if nothing, and for Postgres."""
        ...

    async def backlog(self, *, now: datetime) -> Backlog:
        """Return the waiting emails; the schema must be current."""
        ...

    async def unreadable(self) -> Unreadable:
        """Find emails with unreadable rows: among all waiting ones and the newest others."""
        ...
