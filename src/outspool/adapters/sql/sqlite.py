"""An SQLite file: one thread writes, others read.

A transaction runs entirely in its thread. With an asynchronous driver every statement would cross threads, which costs
more than the statement.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outspool.adapters.files.private_files import create_database_file
from outspool.adapters.sql.backend import CONNECT_SECONDS, FAILURES, STATEMENT_SECONDS, CommitInDoubt, T, Work
from outspool.adapters.sql.file_identity import FileIdentity, newest_event

_BUSY_SECONDS = 10
"""How long a writer waits for other processes' writers."""

_READERS = 2
"""More than one, so that a long search does not delay short reads."""

_BEGIN = "outspool_begin"


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
        self._at_work: set[Future[Any]] = set()
        self._open_threads()

    async def read(self, work: Work[T]) -> T:
        """See `Backend.read`."""
        return await self._run(self._readers, self._read, work)

    async def write(self, work: Work[T]) -> T:
        """See `Backend.write`. One transaction at a time: SQLite has one writer."""
        return await self._run(self._writer, self._write, work)

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """See `Backend.migrate`. The file's write lock keeps other processes out."""
        return await self.write(work)

    async def close(self) -> None:
        """See `Backend.close`. Work that no thread has begun is canceled.

        The threads end first: SQLite crashes the process when a thread uses what another closes.
        """
        threads, at_work = (self._writer, self._readers), tuple(self._at_work)
        self._open_threads()
        for pool in threads:
            pool.shutdown(wait=False, cancel_futures=True)
        if at_work:
            ends = asyncio.gather(*map(asyncio.wrap_future, at_work), return_exceptions=True)
            await asyncio.wait({ends}, timeout=STATEMENT_SECONDS)
        if all(future.done() for future in at_work):
            for pool in threads:
                pool.shutdown(wait=True)
        self.engine.dispose()
        self._file.forget()

    def _open_threads(self) -> None:
        """Create the executors; their threads start with the first work, also after `close`."""
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outspool-writer")
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="outspool-reader")

    async def _run(self, threads: ThreadPoolExecutor, do: Callable[[Work[T]], T], work: Work[T]) -> T:
        future = threads.submit(do, work)
        self._at_work.add(future)
        future.add_done_callback(self._at_work.discard)
        return await asyncio.wrap_future(future)

    def _read(self, work: Work[T]) -> T:
        with self.engine.connect() as connection:
            self._file.check()
            return work(connection)

    def _write(self, work: Work[T]) -> T:
        with self.engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}) as connection:
            transaction = connection.begin()
            self._file.check()
            result = work(connection)
            newest = newest_event(connection.connection.driver_connection)
            try:
                transaction.commit()
            except FAILURES as error:
                if _is_undone(error):
                    transaction.rollback()
                    raise
                raise CommitInDoubt from error
            self._file.note(newest)
            return result


def _is_undone(error: BaseException) -> bool:
    """Tell whether a failed commit certainly did nothing: no space, no lock, or no right to write.

    A commit is the last frame in the log; if that did not fit, nothing was committed. After a failed fsync it is
    unknown.
    """
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY)


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
