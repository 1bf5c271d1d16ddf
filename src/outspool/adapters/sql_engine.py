"""The engine of one database: how a connection to SQLite or to Postgres is opened, and what limits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from outspool.errors import MisconfiguredError

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
"""A database that went silent must not hold a tool call, or a worker, for ever."""

_BUSY_SECONDS = 10
"""How long an SQLite writer waits for those of other processes."""

_TRANSACTION_TIMEOUT_SINCE = (17,)
"""The Postgres that can end a transaction whose client stopped between the messages of one statement."""

_SILENCE_SECONDS = 5
"""How much longer than a statement may take we wait for its answer before we give the line up."""

BEGIN = "outspool_begin"
"""Execution option of an SQLite connection: how its transactions begin; None for no transaction."""


def check_address(url: str) -> None:
    """Refuse what is no address before a driver sees it: drivers quote what they cannot read, passwords included."""
    if not url.startswith(("postgresql://", "postgres://", "sqlite:///")):
        raise MisconfiguredError(
            "DATABASE_URL is neither a Postgres nor an SQLite address.",
            "Use postgresql://user:password@host/name or sqlite:///path/to/file.db.",
        )
    if url.startswith("sqlite:///") and url.removeprefix("sqlite:///") in ("", ":memory:"):
        raise MisconfiguredError(
            "DATABASE_URL names no file, so nothing accepted could last.", "Use sqlite:///path/to/file.db."
        )
    try:
        urlsplit(url).port  # noqa: B018 - reading it checks it
    except ValueError:
        raise MisconfiguredError(
            "DATABASE_URL is not a valid address.", "In its password write # as %23, / as %2F, @ as %40, : as %3A."
        ) from None


def postgres_engine(url: str, statement_seconds: float) -> AsyncEngine:
    """Return an engine whose statements may take so long."""

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
            await connection.execute(_session(connection.get_server_version(), statement_seconds))
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise ConnectionError(str(error)) from error
        except ValueError:
            raise ConnectionError("DATABASE_URL is not a valid address") from None
        return connection

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=10,
        pool_timeout=CONNECT_SECONDS,
    )


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


def sqlite_engine(path: Path) -> AsyncEngine:
    """Return an engine on one file, in WAL mode and durable."""
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": _BUSY_SECONDS},
        pool_timeout=CONNECT_SECONDS,
    )
    sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Set what every SQLite connection needs; WAL lasts, so only the first process pays for it."""
    connection.isolation_level = None  # the driver's own BEGIN comes too late and is never IMMEDIATE
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # NORMAL can lose the last commits when the power fails
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get(BEGIN, "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)
