"""What both databases have in common: work done in one transaction, and the address of the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from outspool.domain.setting import Setting
from outspool.errors import MisconfiguredError

T = TypeVar("T")
Request = TypeVar("Request")
Answer = TypeVar("Answer")

Work: TypeAlias = Callable[[sa.Connection], T]
"""One transaction, as a function of its connection. After a rollback it may be called again: it does nothing else."""

BatchWork: TypeAlias = Callable[[sa.Connection, Sequence[Request]], Sequence[Answer]]
"""The same for many requests at once, with an answer to each in their order."""

_POSTGRES_PORT, _PORTS = 5432, 65536

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
"""A database that went silent must not hold a tool call, or a worker, for ever."""

FAILURES = (DBAPIError, PoolTimeout, OSError)
"""What a database in trouble raises; OSError covers every time-out and failure to connect."""


class CommitInDoubt(Exception):
    """The database went while a commit was under way; the cause says how. The change may have been made."""


class Backend(Protocol):
    """The way to one database. Both methods raise `FAILURES` and whatever `work` raises."""

    async def read(self, work: Work[T]) -> T:
        """Do `work`, which changes nothing; each statement of it sees a snapshot."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction and commit it, or nothing of it.

        Raises `CommitInDoubt` when nobody can tell which.
        """
        ...

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """Run `work`, which changes the schema, in this process alone: `lock` is the number of an advisory lock.

        On Postgres `work` begins and commits transactions of its own; on SQLite it is one transaction.
        """
        ...

    async def close(self) -> None:
        """Close every connection; wait for what is still at work, as long as a statement may take."""
        ...


def hosts_of(url: str) -> list[tuple[str, int]]:
    """Return the hosts of an address, each with its port, as libpq reads them: ``host1:5432,host2`` are two.

    Raises `ValueError` for what is no host, or no port.
    """
    place = urlsplit(url).netloc.rpartition("@")[2]
    found = []
    for part in place.split(","):
        host, colon, port = part.rpartition(":") if not part.endswith("]") else (part, "", "")
        host = host if colon else part
        if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < _PORTS):
            raise ValueError("no port")
        if ":" in host and not host.startswith("["):
            raise ValueError("no host")
        found.append((host.strip("[]") or "localhost", int(port) if colon else _POSTGRES_PORT))
    return found


def check_address(url: str) -> None:
    """Refuse what is no address before a driver sees it: drivers quote what they cannot read, passwords included."""
    if not url.startswith(("postgresql://", "postgres://", "sqlite:///")):
        raise MisconfiguredError(
            f"{Setting.DATABASE.at_start} is neither a Postgres nor an SQLite address.",
            "Use postgresql://user:password@host/name or sqlite:///path/to/file.db.",
        )
    if url.startswith("sqlite:///") and url.removeprefix("sqlite:///") in ("", ":memory:"):
        raise MisconfiguredError(
            f"{Setting.DATABASE.at_start} names no file, so nothing accepted could last.",
            "Use sqlite:///path/to/file.db.",
        )
    try:
        hosts_of(url)
    except ValueError:
        raise MisconfiguredError(
            f"{Setting.DATABASE.at_start} is not a valid address.",
            "In its password write # as %23, / as %2F, @ as %40, : as %3A.",
        ) from None
