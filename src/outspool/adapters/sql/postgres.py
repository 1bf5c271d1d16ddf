"""The Postgres backend: a pool of connections, and the timeouts of each."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from outspool.adapters.sql.ailments import find_sqlstate, is_broken_connection
from outspool.adapters.sql.backend import CONNECT_SECONDS, FAILURES, CommitInDoubt, T, Work
from outspool.adapters.sql.clock import DatabaseClock
from outspool.adapters.sql.pooler import UnfitDatabase, check_pooler
from outspool.domain.setting import Setting

_TRANSACTION_TIMEOUT_SINCE = (17,)
"""The first Postgres version with `transaction_timeout`, which also ends a transaction whose client is suspended."""

_READ_ONLY = "25006"
"""SQLSTATE read_only_sql_transaction."""

_SILENCE_SECONDS = 5
"""How long after the statement timeout the server's answer is awaited before the connection is dropped."""

_FRESH_SECONDS = 1.0
"""A connection that answered this recently is used without a check, which would cost more than most statements."""

_LOCK_POLL_SECONDS = 0.1


class PostgresBackend:
    """See `Backend`. `statement_seconds` is the statement timeout; `clock` learns the server's time."""

    def __init__(self, url: str, *, statement_seconds: float, clock: DatabaseClock | None = None) -> None:
        """Open nothing yet."""
        self._liveness = _LivenessCheck(clock)
        self._engine = _engine(url, statement_seconds, self._liveness, clock)
        # Same pool, without transactions: every statement has its own snapshot anyway, so BEGIN and COMMIT would be two
        # round trips for nothing.
        self._autocommit_engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, work: Work[T]) -> T:
        """See `Backend.read`."""
        async with self._connection(self._autocommit_engine) as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        """See `Backend.write`."""
        async with self._connection(self._engine) as connection:
            transaction = await connection.begin()
            result = await connection.run_sync(work)
            try:
                await transaction.commit()
            except FAILURES as error:
                raise CommitInDoubt from error
            return result

    async def migrate(self, work: Work[T], *, lock: int) -> T:
        """See `Backend.migrate`. A second connection holds the lock in a transaction, so that a pooler cannot lose it.

        The lock is polled: a statement that waits for it would hold a snapshot, and ``CREATE INDEX CONCURRENTLY`` in
        the process that has the lock would wait for that snapshot: a deadlock.
        """
        async with self._connection(self._engine) as guard:
            while True:
                async with guard.begin():
                    if await guard.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(lock))):
                        # The SELECT's portal holds a snapshot until the next command of the simple protocol.
                        driver = (await guard.get_raw_connection()).driver_connection
                        assert driver is not None
                        await driver.execute("SAVEPOINT locked")
                        async with self._connection(self._engine) as connection:
                            return await connection.run_sync(work)
                await asyncio.sleep(_LOCK_POLL_SECONDS)

    async def close(self) -> None:
        """See `Backend.close`."""
        await self._engine.dispose()

    @asynccontextmanager
    async def _connection(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            try:
                yield connection
            except CommitInDoubt:
                await connection.invalidate()
                raise
            except sa.exc.DBAPIError as error:
                if is_broken_connection(error):
                    await connection.invalidate()
                if find_sqlstate(error) == _READ_ONLY:
                    # The primary became a standby: with several hosts the next connection finds the new primary.
                    await connection.invalidate()
                    self._liveness.end()
                raise
            except TimeoutError:
                # The server may still be executing the statement, with our locks, so drop this connection. Drop the
                # others in the pool too: they use the same dead network path, and each would cost a time-out.
                await connection.invalidate()
                self._liveness.end()
                raise


class _LivenessCheck:
    """Decides which pooled connections need a check: idle ones are pinged, and after a time-out all are discarded.

    The pool replaces a connection that fails the check before the caller sees it.
    """

    def __init__(self, clock: DatabaseClock | None) -> None:
        """Trust all connections. The ping asks for the time, which `clock` learns."""
        self._distrusted_at = -math.inf
        self._ask = functools.partial(ask_time, clock=clock)

    def end(self) -> None:
        """Discard every connection that exists now."""
        self._distrusted_at = time.monotonic()

    def watch(self, engine: sa.Engine) -> None:
        """Check each connection that is checked out of the pool of `engine`."""
        import asyncpg

        def on_connect(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
            record.info["made_at"] = record.info["returned_at"] = time.monotonic()

        def on_checkin(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
            record.info["returned_at"] = time.monotonic()

        def on_checkout(connection: Any, record: sa.pool.ConnectionPoolEntry, _proxy: object) -> None:
            if record.info["made_at"] <= self._distrusted_at:
                raise sa.exc.DisconnectionError
            if time.monotonic() - record.info["returned_at"] > _FRESH_SECONDS:
                try:
                    connection.run_async(self._ask)
                except TimeoutError:
                    raise
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    raise sa.exc.DisconnectionError from error

        sa.event.listen(engine, "connect", on_connect)
        sa.event.listen(engine, "checkin", on_checkin)
        sa.event.listen(engine, "checkout", on_checkout)


def _check_encoding(encoding: str) -> None:
    """Raise `UnfitDatabase` if the database cannot store every character."""
    if encoding != "UTF8":
        raise UnfitDatabase(
            f"The database's encoding is {encoding}, and outspool needs UTF8: other encodings lack characters.",
            "The operator makes another with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' "
            f"LC_CTYPE 'C', copies the data with pg_dump, and names it in {Setting.DATABASE}.",
        )


async def ask_time(connection: Any, *, clock: DatabaseClock | None) -> None:
    """Ask the server for its time through an asyncpg connection; `clock` learns it."""
    asked_at = 0.0 if clock is None else clock.elapsed()
    database_time = await connection.fetchval("SELECT clock_timestamp()")
    if clock is not None:
        clock.learn(database_time.astimezone(UTC), asked_at=asked_at, answered_at=clock.elapsed())


def _engine(url: str, statement_seconds: float, liveness: _LivenessCheck, clock: DatabaseClock | None) -> AsyncEngine:
    async def connect() -> Any:
        import asyncpg

        # Pass the URL to asyncpg unchanged, so that sslmode and the like mean what they mean to libpq.
        try:
            connection = await asyncpg.connect(
                url,
                timeout=CONNECT_SECONDS,
                command_timeout=statement_seconds + _SILENCE_SECONDS,
                server_settings={"application_name": "outspool"},
            )
            try:
                await _prepare(connection, url, statement_seconds, clock)
            except BaseException:
                connection.terminate()
                raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(str(error)) from error
        except ValueError:
            raise ConnectionError(f"{Setting.DATABASE.at_start} is not a valid address") from None
        return connection

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=5,
        max_overflow=10,
        pool_timeout=CONNECT_SECONDS,
    )
    liveness.watch(engine.sync_engine)
    return engine


async def _prepare(connection: Any, url: str, statement_seconds: float, clock: DatabaseClock | None) -> None:
    """Prepare a new connection; raise `UnfitDatabase` if outspool cannot work with this database.

    Session settings come last: only then is it certain that no pooler shares the session.
    """
    _check_encoding(connection.get_settings().server_encoding)
    await check_pooler(connection, url)
    await connection.execute(_session(connection.get_server_version(), statement_seconds))
    await ask_time(connection, clock=clock)


def _session(version: tuple[int, ...], statement_seconds: float) -> str:
    """Return the SET statements for the session's timeouts. pgbouncer rejects them as startup parameters."""
    limits = {
        # The server gives up before the client does, so that no statement goes on holding locks.
        "statement_timeout": statement_seconds,
        # A worker that is suspended in mid-transaction must not lock its rows forever.
        "idle_in_transaction_session_timeout": 1.5 * statement_seconds,
    }
    if version >= _TRANSACTION_TIMEOUT_SINCE:
        limits["transaction_timeout"] = 3 * statement_seconds
    return ";".join(f"SET {name} = '{seconds:.0f}s'" for name, seconds in limits.items())
