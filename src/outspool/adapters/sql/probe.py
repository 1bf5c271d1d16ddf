"""`DatabaseProbe` on SQLAlchemy: reads how a database fares, without migrating it or making its file."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from urllib.parse import urlsplit

import sqlalchemy as sa

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.schema import migrations_folder, schema_version
from outspool.adapters.sql.tables import SCHEMA_VERSION, UtcDateTime, emails
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.ports.database import Backlog, DatabaseHealth, SchemaState


class SqlProbe:
    """Looks at the database of one URL; every look opens connections of its own."""

    def __init__(self, url: str, *, identity: str) -> None:
        """Take ``postgresql://…`` or ``sqlite:///path``. Mail of `identity` (an address) is counted."""
        self._url = url
        self._identity = identity

    @property
    def address(self) -> str:
        """See `DatabaseProbe.address`."""
        database = Database(self._url)
        if not database.is_postgres:
            return f"SQLite, {database.sqlite_path}"
        with suppress(ValueError):  # a password with an unescaped "#" or "/" makes nonsense of the rest
            parts = urlsplit(self._url)
            host = parts.hostname or "localhost"
            return f"Postgres, {host}:{parts.port or 5432}{parts.path}"
        return "Postgres"

    async def health(self) -> DatabaseHealth:
        """See `DatabaseProbe.health`. An SQLite database must also let itself be written to."""
        async with Database(self._url).opened() as database:
            if not database.is_postgres and not database.sqlite_path.exists():
                return DatabaseHealth(schema=SchemaState.EMPTY)
            revision = await schema_version(database)
            has_tables = await database.read(lambda connection: sa.inspect(connection).has_table(emails.name))
            seconds, clock = await database.read(_answer)
            if not database.is_postgres:
                await database.write(lambda _connection: None)
        return DatabaseHealth(
            schema=_state(revision, has_tables=has_tables), revision=revision, seconds=seconds, clock=clock
        )

    async def backlog(self, *, now: datetime) -> Backlog:
        """See `DatabaseProbe.backlog`."""
        claimable = emails.c.status.in_(sorted(CLAIMABLE))
        is_due = emails.c.due_at <= now
        waiting = sa.select(
            sa.func.count().filter(is_due),
            sa.func.min(emails.c.due_at).filter(is_due),
            sa.func.count().filter(~is_due),
        ).where(claimable, emails.c.lane == self._identity)
        elsewhere = sa.select(sa.func.count()).where(claimable, emails.c.lane.not_in([self._identity, "sandbox"]))
        in_doubt = sa.select(sa.func.count()).where(emails.c.status == EmailStatus.UNKNOWN.value)

        def count(connection: sa.Connection) -> Backlog:
            due, oldest, later = connection.execute(waiting).one()
            doubtful = connection.scalar(in_doubt) or 0
            others = connection.scalar(elsewhere) or 0
            return Backlog(due=due, oldest_due=oldest, later=later, in_doubt=doubtful, elsewhere=others)

        async with Database(self._url).opened() as database:
            return await database.read(count)


def _answer(connection: sa.Connection) -> tuple[float, datetime | None]:
    """Return the seconds one question takes on an open connection, and the server's clock in the middle of them."""
    is_postgres = connection.dialect.name == "postgresql"
    ask = sa.select(sa.func.clock_timestamp(type_=UtcDateTime)) if is_postgres else sa.select(sa.null())
    started = time.perf_counter()
    clock: datetime | None = connection.scalar(ask)
    return time.perf_counter() - started, clock


def _state(revision: str | None, *, has_tables: bool) -> SchemaState:
    if revision is None:
        return SchemaState.UNVERSIONED if has_tables else SchemaState.EMPTY
    if revision == SCHEMA_VERSION:
        return SchemaState.CURRENT
    return SchemaState.BEHIND if revision in _known_revisions() else SchemaState.UNKNOWN


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory(str(migrations_folder())).walk_revisions()}
