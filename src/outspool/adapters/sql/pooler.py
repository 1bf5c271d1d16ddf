"""Recognises a pooler, such as pgbouncer, that gives one client's Postgres session to others between transactions.

outspool needs a session of its own: its limits (`statement_timeout`) would be set for other programs too, its prepared
statements would be missing, and no notice of a change would ever come (LISTEN).
"""

from __future__ import annotations

from typing import Any

from outspool.adapters.sql.backend import CONNECT_SECONDS
from outspool.domain.setting import Setting
from outspool.errors import StoreMisconfigured

_TRIES = 5
"""On a busy pooler somebody else may take the session that is looked for."""

_PID = "SELECT pg_backend_pid()"


class UnfitDatabase(StoreMisconfigured):
    """A database that no outspool can work with; a process refuses to start on it."""


def _is_shared() -> UnfitDatabase:
    return UnfitDatabase(
        f"{Setting.DATABASE.at_start} leads to a pooler, like pgbouncer, in transaction mode, "
        "and outspool needs a session of its own.",
        "The operator sets pool_mode = session for this database in pgbouncer.ini, or names Postgres itself.",
    )


async def check_pooler(connection: Any, url: str) -> None:
    """Raise `UnfitDatabase` when this connection, of asyncpg, shares its session with others.

    A pooler shows itself by the process id that it gave us, which is not the server's. In session mode it gives no
    second client the session of the first; in transaction mode it gives it to whoever asks next.
    """
    import asyncpg

    try:
        if await _backend(connection) == connection.get_server_pid():
            return
        # The second connection goes through the same door, with no statement prepared under a name.
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
        if "statement pooling" in str(error):  # where not even a transaction is one session's
            raise _is_shared() from None
        raise


async def _backend(connection: Any) -> int:
    """Return the process id of the server behind the connection; in a transaction, so that it is one statement's."""
    async with connection.transaction():
        statement = await connection.prepare(_PID, name="")
        pid: int = await statement.fetchval()
        return pid
