"""The `DatabaseProbe` port: checks a database without migrating it or creating its file."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from outspool.adapters.sql.backend import parse_hosts
from outspool.adapters.sql.damage import look_for_damage
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.rehearsal import rehearse
from outspool.adapters.sql.schema import migrations_folder, schema_version
from outspool.adapters.sql.tables import SCHEMA_VERSION, UtcDateTime, emails
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.ports.database import Backlog, DatabaseHealth, SchemaState, Unreadable

_STANDBYS = sa.text(
    "SELECT application_name FROM pg_stat_replication"
    " WHERE sync_state = 'async' OR current_setting('synchronous_commit') IN ('off', 'local') ORDER BY 1"
)

_QUICK_CHECK = "PRAGMA quick_check(3)"

_EXAMPLES = 3
"""Number of unreadable emails given as examples."""


class _LenientTime(UtcDateTime):
    """A time; None if the column holds no valid time."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None] | None:
        """Return the function that converts the driver's value."""
        read = super().result_processor(dialect, coltype)

        def lenient(value: Any) -> datetime | None:
            try:
                return read(value) if read is not None else None
            except (ValueError, TypeError, OverflowError):
                return None

        return lenient


class SqlProbe:
    """Checks the database of one URL; every check opens its own connections."""

    def __init__(self, url: str, *, identity: str) -> None:
        """Accept ``postgresql://…`` or ``sqlite:///path``. Emails of `identity` (an address) are counted."""
        self._url = url
        self._identity = identity

    @property
    def address(self) -> str:
        """See `DatabaseProbe.address`."""
        database = Database(self._url)
        if not database.is_postgres:
            return f"SQLite, {database.sqlite_path}"
        with suppress(ValueError):  # e.g. an unescaped "#" or "/" in the password
            hosts = ", ".join(f"{host}:{port}" for host, port in parse_hosts(self._url))
            return f"Postgres, {hosts}{urlsplit(self._url).path}"
        return "Postgres"

    async def health(self) -> DatabaseHealth:
        """See `DatabaseProbe.health`. Also checks that an email could be written."""
        async with Database(self._url).open_until_exit() as database:
            if not database.is_postgres and not database.sqlite_path.exists():
                return DatabaseHealth(schema=SchemaState.EMPTY)
            revision = await schema_version(database)
            has_tables = await database.read(lambda connection: sa.inspect(connection).has_table(emails.name))
            seconds, clock = await database.read(_measure_answer)
            standbys = await database.read(_asynchronous_standbys) if database.is_postgres else ()
            schema = _state(revision, has_tables=has_tables)
            if schema in (SchemaState.CURRENT, SchemaState.EMPTY):
                await rehearse(database, has_tables=schema is SchemaState.CURRENT)
        return DatabaseHealth(
            schema=schema, revision=revision, seconds=seconds, clock=clock, asynchronous_standbys=standbys
        )

    async def damage(self) -> str:
        """See `DatabaseProbe.damage`."""
        async with Database(self._url).open_until_exit() as database:
            if database.is_postgres or not database.sqlite_path.exists():
                return ""
            found = await database.read(lambda connection: connection.exec_driver_sql(_QUICK_CHECK).scalars().all())
        return "" if list(found) == ["ok"] else "; ".join(str(line) for line in found)[:300]

    async def backlog(self, *, now: datetime) -> Backlog:
        """See `DatabaseProbe.backlog`."""
        claimable = emails.c.status.in_(sorted(CLAIMABLE))
        is_due = emails.c.due_at <= now
        waiting = sa.select(
            sa.func.count().filter(is_due),
            sa.type_coerce(sa.func.min(emails.c.due_at).filter(is_due), _LenientTime),
            sa.func.count().filter(~is_due),
        ).where(claimable, emails.c.lane == self._identity)
        elsewhere = sa.select(sa.func.count()).where(claimable, emails.c.lane.not_in([self._identity, "sandbox"]))
        in_doubt = sa.select(sa.func.count()).where(emails.c.status == EmailStatus.UNKNOWN.value)

        def count(connection: sa.Connection) -> Backlog:
            due, oldest, later = connection.execute(waiting).one()
            doubtful = connection.scalar(in_doubt) or 0
            others = connection.scalar(elsewhere) or 0
            return Backlog(due=due, oldest_due=oldest, later=later, in_doubt=doubtful, elsewhere=others)

        async with Database(self._url).open_until_exit() as database:
            return await database.read(count)

    async def unreadable(self) -> Unreadable:
        """See `DatabaseProbe.unreadable`."""
        async with Database(self._url).open_until_exit() as database:
            damaged = await database.read(look_for_damage)
        return Unreadable(count=len(damaged), examples=[(damage.name, damage.why) for damage in damaged[:_EXAMPLES]])


def _measure_answer(connection: sa.Connection) -> tuple[float, datetime | None]:
    """Return the duration of one query on an open connection in seconds, and the server's time."""
    is_postgres = connection.dialect.name == "postgresql"
    ask = sa.select(sa.func.clock_timestamp(type_=UtcDateTime)) if is_postgres else sa.select(sa.null())
    started = time.perf_counter()
    clock: datetime | None = connection.scalar(ask)
    return time.perf_counter() - started, clock


def _asynchronous_standbys(connection: sa.Connection) -> tuple[str, ...]:
    """Return standbys that may lack the last commits; none if the role has no right to see them."""
    names = connection.execute(_STANDBYS).scalars().all()
    return tuple(str(name) or "without a name" for name in names)


def _state(revision: str | None, *, has_tables: bool) -> SchemaState:
    if revision is None:
        return SchemaState.UNVERSIONED if has_tables else SchemaState.EMPTY
    if revision == SCHEMA_VERSION:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if revision in _known_revisions() else SchemaState.UNKNOWN


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(migrations_folder())).walk_revisions()}
