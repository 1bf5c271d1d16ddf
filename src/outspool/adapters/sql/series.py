"""`SeriesStore` on SQLAlchemy Core. An email and the step of its series are one transaction, guarded by its version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.admission import Admission
from outspool.adapters.sql.aside import read_despite, set_one_aside
from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.meter import CapReached
from outspool.adapters.sql.rows import problem_values, recurrence_value
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.tables import emails
from outspool.adapters.sql.unreadable import RAW_ID, Damage
from outspool.adapters.sql.watch import ChangeWatch
from outspool.domain.cap import Cap
from outspool.domain.email import Email, Event
from outspool.domain.principal import Scope
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus


class SqlSeries:
    """The series of one database."""

    def __init__(self, database: MigratedDatabase, changes: ChangeWatch, *, rate: Cap) -> None:
        """Share the database with the store; announce what changes.

        The emails that a series makes count towards the `rate` of its identity.
        """
        self.database = database
        self._changes = changes
        self._admission = Admission(database, rate=rate)

    async def list_upcoming(self, scope: Scope, *, limit: int) -> Sequence[tuple[UUID, datetime]]:
        """See `SeriesStore.list_upcoming`."""
        statement = (
            sa.select(emails.c.id, emails.c.due_at)
            .where(_is_recurring(), is_visible(scope))
            .order_by(emails.c.due_at, emails.c.id)
            .limit(limit)
        )

        def look(connection: sa.Connection) -> list[tuple[UUID, datetime]]:
            return [(row.id, row.due_at) for row in connection.execute(statement)]

        return await read_despite(self.database, look, now=datetime.now(UTC))

    async def reschedule(self, series: Series, event: Event) -> bool:
        """See `SeriesStore.reschedule`."""
        return await self.halt(series, event)

    async def set_aside(self, series: Email, *, at: datetime) -> None:
        """See `SeriesStore.set_aside`."""
        raw_id = await self.database.read(
            lambda connection: connection.scalar(sa.select(RAW_ID).where(emails.c.id == series.id))
        )
        await set_one_aside(self.database, Damage(raw_id, series.unreadable), now=at)

    async def advance(self, series: Series, email: Email, event: Event) -> bool:
        """See `SeriesStore.advance`."""

        def step(connection: sa.Connection) -> bool:
            if not _revise(connection, series):
                return False
            # A clock that was set back can come to the same time again; then its email is there already.
            self._admission.admit(connection, [(email, event)])
            if series.status is not EmailStatus.RECURRING:
                add_events(
                    connection, [(series.id, replace(event, status=series.status, code=series.status, detail=""))]
                )
            self._changes.notify(connection)
            return True

        try:
            is_made = await self.database.write(step)
        except CapReached as reached:
            await self._admission.refuse(reached, identity=email.identity, now=email.created_at)
        if is_made:
            self._changes.announce(due=False)
        return is_made

    async def halt(self, series: Series, event: Event) -> bool:
        """See `SeriesStore.halt`."""

        def stop(connection: sa.Connection) -> bool:
            if not _revise(connection, series):
                return False
            add_events(connection, [(series.id, event)])
            return True

        is_halted = await self.database.write(stop)
        if is_halted:
            self._changes.announce(due=False)
        return is_halted


def _is_recurring() -> sa.ColumnElement[bool]:
    """A literal status, so that Postgres sees the partial index fit."""
    return emails.c.status == sa.literal_column(f"'{EmailStatus.RECURRING}'")


def _revise(connection: sa.Connection, series: Series) -> bool:
    """Write where the series stands; False when it is not at this version any more, or not recurring."""
    statement = (
        emails.update()
        .where(emails.c.id == series.id, emails.c.version == series.version, _is_recurring())
        .values(
            status=series.status.value,
            version=emails.c.version + 1,
            due_at=series.due_at,
            date=series.date,
            scheduled_at=series.scheduled_at,
            recurrence=recurrence_value(series.recurrence),
            **problem_values(series.problem),
        )
        .returning(emails.c.id)
    )
    return connection.scalar(statement) is not None
