"""Transactions on one database, SQLite or Postgres, with failures described in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy.exc import DataError, IntegrityError

from outspool.adapters.files.private_files import create_database_file
from outspool.adapters.sql.ailments import describe, is_about_a_value
from outspool.adapters.sql.backend import (
    FAILURES,
    STATEMENT_SECONDS,
    Answer,
    Backend,
    BatchWork,
    CommitInDoubt,
    Request,
    T,
    Work,
    check_address,
)
from outspool.adapters.sql.clock import DatabaseClock
from outspool.adapters.sql.group_commit import GroupCommit
from outspool.adapters.sql.pooler import UnfitDatabase
from outspool.adapters.sql.postgres import PostgresBackend
from outspool.adapters.sql.sqlite import SqliteBackend


class Database:
    """Transactions on one database. Every database failure is raised as `StoreUnavailable`."""

    def __init__(
        self, url: str, *, statement_seconds: float = STATEMENT_SECONDS, clock: DatabaseClock | None = None
    ) -> None:
        """Accept ``postgresql://…`` or ``sqlite:///path``. Nothing is opened yet.

        `clock` learns Postgres's time whenever a connection is made, or used again after a rest.
        """
        check_address(url)
        self.url = url
        self.is_postgres = url.startswith(("postgresql://", "postgres://"))
        self.backend: Backend = (
            PostgresBackend(url, statement_seconds=statement_seconds, clock=clock)
            if self.is_postgres
            else SqliteBackend(self.sqlite_path)
        )
        self._running: set[asyncio.Task[Any]] = set()
        self._groups: dict[BatchWork[Any, Any] | None, GroupCommit] = {}

    @property
    def sqlite_path(self) -> Path:
        """Path of the SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))

    def make_file(self) -> None:
        """Create the SQLite file and its folder, readable by the owner only, because it contains private mail."""
        if self.is_postgres:
            return
        try:
            create_database_file(self.sqlite_path)
        except OSError as error:
            raise describe(error) from error

    async def learn_time(self, *, timeout_seconds: float) -> None:
        """Connect to Postgres once to learn its time; give up after `timeout_seconds`, or if it is unavailable.

        Raises `StoreMisconfigured` if outspool can never work with this database.
        """
        if not self.is_postgres:
            return
        reading = asyncio.create_task(self._shield(self.backend.read(lambda _connection: None)))
        reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({reading}, timeout=timeout_seconds)
        if reading.done() and isinstance(error := reading.exception(), UnfitDatabase):
            raise error

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads; each statement sees its own snapshot."""
        await self._make_ready()
        return await self._shield(self.backend.read(work))

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction and commit it, or, if it raises, nothing of it.

        A failed commit raises `StoreUnavailable` with `in_doubt` true: the change may have been made.
        """
        if self.is_postgres:
            await self._make_ready()
            return await self._shield(self.backend.write(work))
        return await self.write_batched(lambda connection, _requests: [work(connection)], None)

    async def write_batched(self, work: BatchWork[Request, Answer], request: Request) -> Answer:
        """Return the answer of `work` to `request`, committed with whatever else waits meanwhile. Raises as `write`.

        SQLite has one writer, so everything that waits for it shares a commit. On Postgres what waits for the same
        `work` does, which no statement of another kind can hold up.
        """
        await self._make_ready()
        kind = work if self.is_postgres else None
        if kind not in self._groups:
            self._groups[kind] = GroupCommit(lambda together: _translate_errors(self.backend.write(together)))
        return await self._groups[kind].run(work, request)

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """See `Backend.migrate`. Raises as `write` does."""
        return await self._shield(self.backend.migrate(work, lock=lock))

    @asynccontextmanager
    async def open_until_exit(self) -> AsyncIterator[Self]:
        """Yield this database and close it at the end."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Wait for running transactions, then close every connection."""
        running = self._running | {group.task for group in self._groups.values() if group.task is not None}
        if running:
            await asyncio.wait(running, timeout=STATEMENT_SECONDS)
        await self.backend.close()

    async def _make_ready(self) -> None:
        """Do what must come before the first transaction; here nothing."""

    async def _shield(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end even if the caller is canceled.

        Canceling in mid-statement would leave the connection and its locks to the garbage collector.
        """
        task = asyncio.create_task(_translate_errors(work))
        self._running.add(task)
        task.add_done_callback(self._discard)
        return await asyncio.shield(task)

    def _discard(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved; a caller that still waits gets it too


_BUGS = (IntegrityError, DataError)
"""Errors that show a bug in a statement, not an unavailable database; they are raised unchanged."""


async def _translate_errors(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; raise `StoreUnavailable` for every database failure."""
    try:
        return await work
    except _BUGS:
        raise
    except FAILURES as error:
        if is_about_a_value(error):
            raise ValueError("the database cannot keep, or return, one of the values") from error
        raise describe(error) from error
    except CommitInDoubt as error:
        cause = error.__cause__
        if not isinstance(cause, Exception) or isinstance(cause, _BUGS):
            raise
        raise describe(cause, in_doubt=True) from cause
