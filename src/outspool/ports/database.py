"""What an examination asks of a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class SchemaState(StrEnum):
    """How a database's schema stands to this code's."""

    EMPTY = "empty"
    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"
    """Of a revision this code has never heard of: made by a newer outspool, or by another program."""
    UNVERSIONED = "unversioned"
    """There are tables of an outbox, and nothing says of which revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseHealth:
    """How a database answers: after `seconds` (None: there is none yet), with its `clock` (UTC; None: it has none).

    `asynchronous_standbys` are the names of those that may lack what was committed last.
    """

    schema: SchemaState
    revision: str | None = None
    seconds: float | None = None
    clock: datetime | None = None
    asynchronous_standbys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many emails are `due`, the oldest since `oldest_due`; how many wait `later`; how many are `in_doubt`.

    `elsewhere` counts those that wait for an outspool that sends as somebody else; the sandbox's do not count.
    """

    due: int
    oldest_due: datetime | None
    later: int
    in_doubt: int
    elsewhere: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Emails whose rows cannot be read: how many were found, and a few of them, each with what is wrong with it."""

    count: int = 0
    examples: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """Whether files can be kept in a `folder`: `trouble` says in words why not; `free_bytes` are left."""

    folder: str
    free_bytes: int
    trouble: str = ""


class DatabaseProbe(Protocol):
    """Looks at a database and changes nothing that lasts. Raises like `EmailStore`."""

    @property
    def address(self) -> str:
        """What and where it is, for a person; no secret in it."""
        ...

    async def health(self) -> DatabaseHealth:
        """Return how it answers, be it empty, old or new; what an email writes is written, and rolled back."""
        ...

    async def damage(self) -> str:
        """Return what is wrong with the file of an SQLite database; empty when all is well, and of any other."""
        ...

    async def backlog(self, *, now: datetime) -> Backlog:
        """Return what waits; the schema must be current."""
        ...

    async def unreadable(self) -> Unreadable:
        """Look for emails whose rows cannot be read: all that wait, and the newest of the others."""
        ...
