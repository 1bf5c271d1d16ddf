"""The interface of both databases, the `Backend`, and the parsing of the database's URL."""

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
"""The body of one transaction. It may be called again after a rollback, so it must have no other effects."""

BatchWork: TypeAlias = Callable[[sa.Connection, Sequence[Request]], Sequence[Answer]]
"""The same for many requests at once, with an answer to each in their order."""

_POSTGRES_PORT, _PORTS = 5432, 65536

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
"""Statement timeout: an unresponsive database must not block a tool call or a worker forever."""

FAILURES = (DBAPIError, PoolTimeout, OSError)
"""Errors of an unavailable database; OSError covers time-outs and failed connections."""


class CommitInDoubt(Exception):
    """The connection was lost during a commit (the cause says how), so the change may have been made."""


class Backend(Protocol):
    """Transactions on one database. Every method raises `FAILURES` and whatever `work` raises."""

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads; each statement sees its own snapshot."""
        ...

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction and commit, or roll back.

        Raises `CommitInDoubt` if the outcome is unknown.
        """
        ...

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """Run `work`, which changes the schema, in one process at a time; `lock` is an advisory lock's number.

        On Postgres `work` begins and commits its own transactions; on SQLite it is one transaction.
        """
        ...

    async def close(self) -> None:
        """Close every connection; wait for what is still at work, as long as a statement may take."""
        ...


def parse_hosts(url: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of a URL as libpq reads them: ``host1:5432,host2`` are two.

    Raises `ValueError` for an invalid host or port.
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
    """Reject an invalid URL before a driver sees it: drivers quote invalid URLs, passwords included."""
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
        parse_hosts(url)
    except ValueError:
        raise MisconfiguredError(
            f"{Setting.DATABASE.at_start} is not a valid address.",
            "In its password write # as %23, / as %2F, @ as %40, : as %3A.",
        ) from None
