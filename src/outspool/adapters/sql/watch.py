"""Notices changes of the outbox: at once in this process, by notification or polling in others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from outspool.adapters.sql.backend import CONNECT_SECONDS
from outspool.adapters.sql.database import Database

logger = logging.getLogger(__name__)

CHANNEL = "outspool"
_NOTIFY = sa.select(sa.func.pg_notify(CHANNEL, ""))
_SQLITE_POLL_SECONDS = 0.2
_RECONNECT_SECONDS = 2.0


class ChangeWatch:
    """Calls watchers after changes: `announce` for this process, LISTEN/NOTIFY or a poll for others."""

    def __init__(self, database: Database) -> None:
        """Start nothing yet."""
        self._database = database
        self._watchers: dict[Callable[[], None], bool] = {}  # callback to `due_only`
        self._listener: asyncio.Task[None] | None = None

    def notify(self, connection: sa.Connection) -> None:
        """Notify other processes when the transaction commits. On SQLite they see the file change."""
        if self._database.is_postgres:
            connection.execute(_NOTIFY)

    def announce(self, *, due: bool) -> None:
        """Call the watchers in this process; `due` means that an email may be due earlier than before."""
        for watcher, due_only in tuple(self._watchers.items()):
            if due or not due_only:
                watcher()

    @asynccontextmanager
    async def watch(self, callback: Callable[[], None], *, due_only: bool = False) -> AsyncIterator[None]:
        """See `Changes.watch`."""
        self._watchers[callback] = due_only
        if self._listener is None:
            follow = self._follow_postgres if self._database.is_postgres else self._follow_sqlite
            self._listener = asyncio.create_task(self._keep_following(follow), name="outspool-watch")
        try:
            yield
        finally:
            self._watchers.pop(callback, None)
            if not self._watchers:
                await self.close()

    async def close(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener

    async def _keep_following(self, follow: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Follow again whenever the connection breaks; polling elsewhere covers the gap."""
        while True:
            try:
                await follow()
            except Exception as error:  # noqa: BLE001 - listening must resume after any error
                logger.debug("listening for changes stopped: %s", type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)
            self.announce(due=True)

    async def _follow_postgres(self) -> None:
        import asyncpg

        connection = await asyncpg.connect(self._database.url, timeout=CONNECT_SECONDS)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _connection: lost.set())
            await connection.add_listener(CHANNEL, lambda *_notice: self.announce(due=True))
            self.announce(due=True)  # for notifications before LISTEN
            await lost.wait()
        finally:
            connection.terminate()

    async def _follow_sqlite(self) -> None:
        await asyncio.to_thread(self._database.make_file)  # SQLite would create it readable by others
        loop = asyncio.get_running_loop()
        # Leaving this block waits for the thread, which closes the connection after the query that a cancellation left
        # running. SQLite crashes the process if a connection is closed while another thread uses it.
        with ThreadPoolExecutor(1, thread_name_prefix="outspool-watch") as thread:
            reader = _VersionReader(self._database.sqlite_path)
            try:
                seen: int | None = None
                while True:
                    version = await loop.run_in_executor(thread, reader.read)
                    if version != seen:
                        self.announce(due=True)
                    seen = version
                    await asyncio.sleep(_SQLITE_POLL_SECONDS)
            finally:
                thread.submit(reader.close)


class _VersionReader:
    """Reads SQLite's data version, in one thread, on a separate connection: it does not change within a transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def read(self) -> int:
        """Return a number that changes when another connection has changed the file."""
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, isolation_level=None)
        version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
        return version

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
