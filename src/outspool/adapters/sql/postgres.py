"""The line to a Postgres database: a pool of connections, and what limits each of them."""

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

from outspool.adapters.sql.ailments import is_broken_line, state_of
from outspool.adapters.sql.backend import CONNECT_SECONDS, FAILURES, CommitInDoubt, T, Work
from outspool.adapters.sql.clock import DatabaseClock
from outspool.adapters.sql.pooler import UnfitDatabase, check_pooler
from outspool.domain.setting import Setting

_TRANSACTION_TIMEOUT_SINCE = (17,)
"""The Postgres that can end a transaction whose client stopped between the messages of one statement."""

_READ_ONLY = "25006"
"""SQLSTATE read_only_sql_transaction."""

_SILENCE_SECONDS = 5
"""How much longer than a statement may take we wait for its answer before we give the line up."""

_FRESH_SECONDS = 1.0
"""For so long after it answered a connection is taken to live. To ask costs more than most that it is used for."""

_LOCK_POLL_SECONDS = 0.1


class PostgresBackend:
    """See `Backend`; `statement_seconds` is how long a statement may take. `clock` learns the server's time."""

    def __init__(self, url: str, *, statement_seconds: float, clock: DatabaseClock | None = None) -> None:
        """Open nothing yet."""
        self._trust = _Trust(clock)
        self._engine = _engine(url, statement_seconds, self._trust, clock)
        # The same pool. Each statement sees a snapshot of its own as it is, so BEGIN and COMMIT would be two round
        # trips for nothing.
        self._looking = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def read(self, work: Work[T]) -> T:
        """See `Backend.read`."""
        async with self._connection(self._looking) as connection:
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
        """See `Backend.migrate`. A second connection holds the lock, in a transaction, so a pooler cannot lose it.

        The lock is polled for: a statement that waits for it would hold a snapshot, and ``CREATE INDEX CONCURRENTLY``
        in the process that has it would wait for that statement in turn, for ever.
        """
        async with self._connection(self._engine) as guard:
            while True:
                async with guard.begin():
                    if await guard.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(lock))):
                        # The portal of the SELECT holds a snapshot until the next command of the simple protocol.
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
                if is_broken_line(error):
                    await connection.invalidate()
                if state_of(error) == _READ_ONLY:
                    # The primary of before is a standby now: with several hosts the next connection finds the new one.
                    await connection.invalidate()
                    self._trust.end()
                raise
            except TimeoutError:
                # Its server may still be at work, with our locks: never use this connection again. Nor the others
                # that wait in the pool: whatever swallowed this one's words has theirs, and each costs a time-out.
                await connection.invalidate()
                self._trust.end()
                raise


class _Trust:
    """Which connections of a pool are taken to live: one that rested is asked, and none is that is distrusted.

    What does not live is replaced unseen.
    """

    def __init__(self, clock: DatabaseClock | None) -> None:
        """Trust all. A connection is asked for the time, which `clock` learns: no question costs less."""
        self._ended_at = -math.inf
        self._ask = functools.partial(ask_time, clock=clock)

    def end(self) -> None:
        """Distrust every connection there is."""
        self._ended_at = time.monotonic()

    def watch(self, engine: sa.Engine) -> None:
        """Look at each connection that is taken out of the pool of `engine`."""
        import asyncpg

        def make(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
            record.info["made_at"] = record.info["left_at"] = time.monotonic()

        def leave(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
            record.info["left_at"] = time.monotonic()

        def take(connection: Any, record: sa.pool.ConnectionPoolEntry, _proxy: object) -> None:
            if record.info["made_at"] <= self._ended_at:
                raise sa.exc.DisconnectionError
            if time.monotonic() - record.info["left_at"] > _FRESH_SECONDS:
                try:
                    connection.run_async(self._ask)
                except TimeoutError:
                    raise
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                    raise sa.exc.DisconnectionError from error

        sa.event.listen(engine, "connect", make)
        sa.event.listen(engine, "checkin", leave)
        sa.event.listen(engine, "checkout", take)


def _check_encoding(encoding: str) -> None:
    """Raise `UnfitDatabase` when the database cannot hold every character, as names, subjects and replies may."""
    if encoding != "UTF8":
        raise UnfitDatabase(
            f"The database's encoding is {encoding}, and outspool needs UTF8: other encodings lack characters.",
            "The operator makes another with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' "
            f"LC_CTYPE 'C', copies the data with pg_dump, and names it in {Setting.DATABASE}.",
        )


async def ask_time(connection: Any, *, clock: DatabaseClock | None) -> None:
    """Ask a server what time it is, through a connection of asyncpg; `clock` learns it."""
    asked = 0.0 if clock is None else clock.elapsed()
    shown = await connection.fetchval("SELECT clock_timestamp()")
    if clock is not None:
        clock.learn(shown.astimezone(UTC), asked=asked, answered=clock.elapsed())


def _engine(url: str, statement_seconds: float, trust: _Trust, clock: DatabaseClock | None) -> AsyncEngine:
    async def connect() -> Any:
        import asyncpg

        # The URL goes to asyncpg as it is, so that sslmode and its kin mean what they mean to libpq.
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
    trust.watch(engine.sync_engine)
    return engine


async def _prepare(connection: Any, url: str, statement_seconds: float, clock: DatabaseClock | None) -> None:
    """Make a new connection ready; raise `UnfitDatabase` when outspool cannot work with what it leads to.

    Nothing is set before it is certain that the session is ours alone.
    """
    _check_encoding(connection.get_settings().server_encoding)
    await check_pooler(connection, url)
    await connection.execute(_session(connection.get_server_version(), statement_seconds))
    await ask_time(connection, clock=clock)


def _session(version: tuple[int, ...], statement_seconds: float) -> str:
    """Return the statements that limit a session. As parameters of the connection a pgbouncer would refuse them."""
    limits = {
        # The server gives up before we do: then both know it, and no lock is left behind.
        "statement_timeout": statement_seconds,
        # A worker that is stopped in the middle of a transaction must not hold its rows for ever.
        "idle_in_transaction_session_timeout": 1.5 * statement_seconds,
    }
    if version >= _TRANSACTION_TIMEOUT_SINCE:
        limits["transaction_timeout"] = 3 * statement_seconds
    return ";".join(f"SET {name} = '{seconds:.0f}s'" for name, seconds in limits.items())
