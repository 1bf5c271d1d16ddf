"""Detects a pooler such as pgbouncer that shares Postgres sessions between clients.

outspool needs its own session: its `statement_timeout` would apply to other programs, its prepared statements would be
missing, and LISTEN would receive nothing.
"""

from __future__ import annotations

from typing import Any

from outspool.adapters.sql.backend import CONNECT_SECONDS
from outspool.domain.setting import Setting
from outspool.errors import StoreMisconfigured

_TRIES = 5
"""On a busy pooler another client may get the session in between, so the check is repeated."""

_PID = "SELECT pg_backend_pid()"


class UnfitDatabase(StoreMisconfigured):
    """A database that outspool can never work with; a process refuses to start on it."""


def _is_shared() -> UnfitDatabase:
    return UnfitDatabase(
        f"{Setting.DATABASE.at_start} leads to a pooler, like pgbouncer, in transaction mode, "
        "and outspool needs a session of its own.",
        "The operator sets pool_mode = session for this database in pgbouncer.ini, or names Postgres itself.",
    )


async def check_pooler(connection: Any, url: str) -> None:
    """Raise `UnfitDatabase` if this asyncpg connection shares its session with other clients.

    A pooler is recognised by the process id it reports, which is not the server's. In session mode a second client gets
    another session; in transaction mode it gets whichever is free, the first client's included.
    """
    import asyncpg

    try:
        if await _backend(connection) == connection.get_server_pid():
            return
        # Use no statement cache: a pooler would mix up named statements.
        second = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
        try:
            for _ in range(_TRIES):
                first = await _backend(connection)
                if await _backend(second) == first or await _backend(connection) != first:
                    raise _is_shared()
        finally:
            second.terminate()
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        raise _is_shared() from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if "statement pooling" in str(error):  # that mode forbids transactions
            raise _is_shared() from None
        raise


async def _backend(connection: Any) -> int:
    """Return the server's process id; in a transaction, because a pooler may switch servers between transactions."""
    async with connection.transaction():
        statement = await connection.prepare(_PID, name="")
        pid: int = await statement.fetchval()
        return pid
