"""One database, SQLite or Postgres: its transactions, and its failures in plain words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from outspool.adapters.files.private_files import create_database_file
from outspool.adapters.sql.backend import (
    FAILURES,
    STATEMENT_SECONDS,
    Backend,
    CommitInDoubt,
    T,
    Work,
    check_address,
)
from outspool.adapters.sql.postgres import PostgresBackend
from outspool.adapters.sql.sqlite import SqliteBackend
from outspool.errors import StoreUnavailable


class Database:
    """Transactions on one database. Every failure of it comes out as `StoreUnavailable`."""

    def __init__(self, url: str, *, statement_seconds: float = STATEMENT_SECONDS) -> None:
        """Take ``postgresql://…`` or ``sqlite:///path``. Nothing is opened yet."""
        check_address(url)
        self.url = url
        self.is_postgres = url.startswith(("postgresql://", "postgres://"))
        self.line: Backend = (
            PostgresBackend(url, statement_seconds=statement_seconds)
            if self.is_postgres
            else SqliteBackend(self.sqlite_path)
        )
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))

    def make_file(self) -> None:
        """Make the SQLite file and its folder, for nobody else's eyes: other people's mail lies in it."""
        if self.is_postgres:
            return
        try:
            create_database_file(self.sqlite_path)
        except OSError as error:
            raise _unavailable(error) from error

    async def read(self, work: Work[T]) -> T:
        """Do `work`, which changes nothing; each statement of it sees a snapshot of its own."""
        return await self._whole(self.line.read(work))

    async def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction and commit it; roll back if it raises.

        A failed commit raises `StoreUnavailable` with `in_doubt` true: the change may have been made.
        """
        return await self._whole(self.line.write(work))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Yield this database and close it at the end."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Let what is under way end, then close every connection."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STATEMENT_SECONDS)
        await self.line.close()

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, also when the caller is canceled meanwhile.

        A statement that is canceled halfway leaves its connection, and the locks on it, to the garbage collector.
        """
        task = asyncio.create_task(_in_words(work))
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits has it too; whoever was canceled does not care


_BUGS = (IntegrityError, DataError)
"""What a statement of ours does wrong; no trouble of the database, so it must be seen."""


async def _in_words(work: Coroutine[Any, Any, T]) -> T:
    """Do `work`; raise `StoreUnavailable` for every failure of the database."""
    try:
        return await work
    except _BUGS:
        raise
    except FAILURES as error:
        raise _unavailable(error) from error
    except CommitInDoubt as error:
        cause = error.__cause__
        if not isinstance(cause, Exception) or isinstance(cause, _BUGS):
            raise
        raise _unavailable(cause, in_doubt=True) from cause


def _unavailable(error: Exception, *, in_doubt: bool = False) -> StoreUnavailable:
    """Say in a sentence what ails the database, and what to do; never the statement or its parameters."""
    return StoreUnavailable(_ailment(error), _IN_DOUBT if in_doubt else _RETRY, in_doubt=in_doubt)


def _ailment(error: Exception) -> str:
    if isinstance(error, PoolTimeout | TimeoutError):
        return "The database does not answer in time."
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
    text = text.partition(">: ")[2] or text  # SQLAlchemy's asyncpg dialect prefixes the class
    if "disk is full" in text or "No space left" in text:
        return "The disk that holds the outbox is full: free some space."
    return f"The database cannot be used: {text}."


_RETRY = "Nothing was changed. Try again in a moment; if it stays so, run `outspool doctor`."
_IN_DOUBT = (
    "What was asked may have been done, or not: look with list_emails or get_status before you ask again, "
    "or repeat the call with the same idempotency_key."
)
