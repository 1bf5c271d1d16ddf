"""The line to an SQLite file: one thread writes, others read, and who writes at the same time shares one fsync.

A transaction runs whole in its thread. Through an asynchronous driver each of its statements would go to a thread and
back, which costs more than the statements.
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

_BUSY_SECONDS = 10
"""How long a writer waits for those of other processes."""

_READERS = 2
"""A long search does not hold up a short look."""

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
    """See `Backend`."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self.engine = _engine(path)
        self._open_threads()
        self._waiting: list[_Job] = []
        self._writing: asyncio.Task[None] | None = None

    async def read(self, work: Work[T]) -> T:
        """See `Backend.read`."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def write(self, work: Work[T]) -> T:
        """See `Backend.write`. What is asked for while a commit is under way is committed together, after it."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting(), name="outspool-writer")
        return await done

    async def close(self) -> None:
        """See `Backend.close`."""
        self._writer.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()
        self._open_threads()

    def _open_threads(self) -> None:
        """Have threads, which start with the first work for them: also after `close`, if somebody comes late."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outspool-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="outspool-reader")

    def _read(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
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
        """Commit all at once; if one of them fails, each alone, so that none suffers for another."""
        if len(works) > 1:
            begun = False
            try:
                with self._transaction() as connection:
                    begun = True
                    results = [work(connection) for work in works]
            except CommitInDoubt as error:
                return [_Outcome(failure=error)] * len(works)
            except Exception as error:  # noqa: BLE001 - it is found again, and told to whom it concerns
                if not begun:
                    return [_Outcome(failure=error)] * len(works)
            else:
                return [_Outcome(result=result) for result in results]
        return [self._commit(work) for work in works]

    def _commit(self, work: Work[Any]) -> _Outcome:
        try:
            with self._transaction() as connection:
                result = work(connection)
        except Exception as error:  # noqa: BLE001 - it is raised where the work was asked for
            return _Outcome(failure=error)
        return _Outcome(result=result)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self.engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection:
            transaction = connection.begin()
            yield connection
            try:
                transaction.commit()
            except FAILURES as error:
                raise CommitInDoubt from error


def _settle(done: asyncio.Future[Any], outcome: _Outcome) -> None:
    if done.done():
        return  # its loop is closing
    if outcome.failure is not None:
        done.set_exception(outcome.failure)
    else:
        done.set_result(outcome.result)


def _engine(path: Path) -> sa.Engine:
    """Return an engine on one file, in WAL mode and durable."""
    engine = sa.create_engine(
        sa.URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        pool_timeout=CONNECT_SECONDS,
    )
    sa.event.listen(engine, "do_connect", lambda *_: create_database_file(path))  # SQLite would make it readable
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    """Set what every connection needs; WAL lasts, so only the first process pays for it."""
    connection.isolation_level = None  # the driver's own BEGIN comes too late and is never IMMEDIATE
    cursor = connection.cursor()
    _begin_wal(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # NORMAL can lose the last commits when the power fails
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_wal(cursor: Any) -> None:
    """Switch to WAL. While another process does the same SQLite says "locked" at once, whatever the timeout."""
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
