"""One database, SQLite or Postgres: its transactions, and its failures in plain words."""

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
    """Transactions on one database. Every failure of it comes out as `StoreUnavailable`."""

    def __init__(
        self, url: str, *, statement_seconds: float = STATEMENT_SECONDS, clock: DatabaseClock | None = None
    ) -> None:
        """Take ``postgresql://…`` or ``sqlite:///path``. Nothing is opened yet.

        `clock` learns the time of Postgres with every connection that is made, or rested.
        """
        check_address(url)
        self.url = url
        self.is_postgres = url.startswith(("postgresql://", "postgres://"))
        self.backend: Backend = (
            PostgresBackend(url, statement_seconds=statement_seconds, clock=clock)
            if self.is_postgres
            else SqliteBackend(self.sqlite_path)
        )
        self._under_way: set[asyncio.Task[Any]] = set()
        self._groups: dict[BatchWork[Any, Any] | None, GroupCommit] = {}

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
            raise describe(error) from error

    async def learn_time(self, *, within: float) -> None:
        """Connect to Postgres once, so that its time is known; give up after `within` seconds, or when it is away.

        Raises `StoreMisconfigured` when outspool can never work with this database.
        """
        if not self.is_postgres:
            return
        looking = asyncio.create_task(self._finish(self.backend.read(lambda _connection: None)))
        looking.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({looking}, timeout=within)
        if looking.done() and isinstance(error := looking.exception(), UnfitDatabase):
            raise error

    async def read(self, work: Work[T]) -> T:
        """Do `work`, which changes nothing; each statement of it sees a snapshot of its own."""
        await self._make_ready()
        return await self._finish(self.backend.read(work))

    async def write(self, work: Work[T]) -> T:
        """Do `work` in one transaction and commit it, or, if it raises, nothing of it.

        A failed commit raises `StoreUnavailable` with `in_doubt` true: the change may have been made.
        """
        if self.is_postgres:
            await self._make_ready()
            return await self._finish(self.backend.write(work))
        return await self.write_batched(lambda connection, _requests: [work(connection)], None)

    async def write_batched(self, work: BatchWork[Request, Answer], request: Request) -> Answer:
        """Return the answer of `work` to `request`, committed with whatever else waits meanwhile. Raises as `write`.

        SQLite has one writer, so everything that waits for it shares a commit. On Postgres what waits for the same
        `work` does, which no statement of another kind can hold up.
        """
        await self._make_ready()
        kind = work if self.is_postgres else None
        if kind not in self._groups:
            self._groups[kind] = GroupCommit(lambda together: _in_words(self.backend.write(together)))
        return await self._groups[kind].run(work, request)

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """See `Backend.migrate`. Raises as `write` does."""
        return await self._finish(self.backend.migrate(work, lock=lock))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Yield this database and close it at the end."""
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Let what is under way end, then close every connection."""
        under_way = self._under_way | {group.task for group in self._groups.values() if group.task is not None}
        if under_way:
            await asyncio.wait(under_way, timeout=STATEMENT_SECONDS)
        await self.backend.close()

    async def _make_ready(self) -> None:
        """Do what must come before the first transaction; here nothing."""

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
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
        if is_about_a_value(error):
            raise ValueError("the database cannot keep, or return, one of the values") from error
        raise describe(error) from error
    except CommitInDoubt as error:
        cause = error.__cause__
        if not isinstance(cause, Exception) or isinstance(cause, _BUGS):
            raise
        raise describe(cause, in_doubt=True) from cause
