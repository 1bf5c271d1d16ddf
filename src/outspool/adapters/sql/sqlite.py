"""The SQLite backend: one writer thread, several readers, and group commit.

A transaction runs entirely in its thread. With an asynchronous driver every statement would cross threads, which costs
more than the statement.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outspool.adapters.files.private_files import create_database_file
from outspool.adapters.sql.backend import CONNECT_SECONDS, FAILURES, CommitInDoubt, T, Work
from outspool.adapters.sql.file_identity import FileIdentity, newest_event

_BUSY_SECONDS = 10
"""How long a writer waits for other processes' writers."""

_READERS = 2
"""More than one, so that a long search does not delay short reads."""

_MOST_TOGETHER = 64

_BEGIN = "outspool_begin"


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    done: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Outcome:
    result: Any = None
    failure: BaseException | None = None


class SqliteBackend:
    """See `Backend`.

    SQLite allows one writer at a time, so one thread writes and the event loop queues the work. What is queued during a
    commit becomes the next transaction, and one fsync makes all of it durable: most of a commit's cost is the fsync.
    BEGIN IMMEDIATE takes the write lock first, because a transaction that begins as a reader and then writes can fail
    when another process has written since. In WAL mode readers are not blocked.
    """

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.engine = _engine(path)
        self._file = FileIdentity(path)
        self._open_threads()
        self._waiting: list[_Job] = []
        self._writing: asyncio.Task[None] | None = None

    async def read(self, work: Work[T]) -> T:
        """See `Backend.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Work[T]) -> T:
        """See `Backend.write`. Work that arrives during a commit is committed together afterwards."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting(), name="outspool-writer")
        return await done

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """See `Backend.migrate`. The file's write lock keeps other processes out."""
        return await self.write(work)

    async def close(self) -> None:
        """See `Backend.close`."""
        self._writer.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()
        self._file.forget()
        self._open_threads()

    def _open_threads(self) -> None:
        """Create the executors; their threads start with the first work, also after `close`."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outspool-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="outspool-reader")

    def _read(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            self._file.check()
            return work(connection)

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                jobs, self._waiting = self._waiting[:_MOST_TOGETHER], self._waiting[_MOST_TOGETHER:]
                for job, outcome in zip(jobs, await self._outcomes(jobs), strict=True):
                    _settle(job.done, outcome)
        finally:
            self._writing = None

    async def _outcomes(self, jobs: Sequence[_Job]) -> list[_Outcome]:
        together = functools.partial(self._commit_together, [job.work for job in jobs])
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writer, together)
        except Exception as error:  # noqa: BLE001 - every caller waits for an answer
            return [_Outcome(failure=error)] * len(jobs)

    def _commit_together(self, works: Sequence[Work[Any]]) -> list[_Outcome]:
        """Commit all works in one transaction; if one fails, commit each alone, so that only it fails."""
        if len(works) > 1:
            begun = False
            try:
                with self._transaction() as connection:
                    begun = True
                    results = [work(connection) for work in works]
            except CommitInDoubt as error:
                return [_Outcome(failure=error)] * len(works)
            except Exception as error:  # noqa: BLE001 - each work is run again alone and raises it
                if not begun:
                    return [_Outcome(failure=error)] * len(works)
            else:
                return [_Outcome(result=result) for result in results]
        return [self._commit(work) for work in works]

    def _commit(self, work: Work[Any]) -> _Outcome:
        try:
            with self._transaction() as connection:
                result = work(connection)
        except Exception as error:  # noqa: BLE001 - it is raised in the caller
            return _Outcome(failure=error)
        return _Outcome(result=result)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self.engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection:
            transaction = connection.begin()
            self._file.check()
            yield connection
            newest = newest_event(connection.connection.driver_connection)
            try:
                transaction.commit()
            except FAILURES as error:
                if _is_undone(error):
                    transaction.rollback()
                    raise
                raise CommitInDoubt from error
            self._file.note(newest)


def _is_undone(error: BaseException) -> bool:
    """Tell whether a failed commit certainly did nothing: no space, no lock, or no right to write.

    A commit is the last frame in the log; if that did not fit, nothing was committed. After a failed fsync it is
    unknown.
    """
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY)


def _settle(done: asyncio.Future[Any], outcome: _Outcome) -> None:
    if done.done():
        return  # the caller is gone
    if outcome.failure is not None:
        done.set_exception(outcome.failure)
    else:
        done.set_result(outcome.result)


def _engine(path: Path) -> sa.Engine:
    """Return an engine for the file, in WAL mode, with durable commits."""
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        pool_timeout=CONNECT_SECONDS,
    )
    # First, because SQLite would create the file readable by others.
    sa.event.listen(engine, "do_connect", lambda *_: create_database_file(path))
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    """Set up a new connection. WAL mode is stored in the file, so only the first process changes it."""
    connection.isolation_level = None  # the driver's own BEGIN comes too late and is never IMMEDIATE
    cursor = connection.cursor()
    _begin_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # NORMAL can lose the last commits when the power fails
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_wal(cursor: Any) -> None:
    """Switch to WAL mode, with retries: if another process is switching, SQLite fails at once."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
