"""The `SeriesStore` port. An occurrence and its series' next time are one transaction, guarded by the version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.admission import Admission
from outspool.adapters.sql.aside import read_setting_aside, set_one_aside
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
        """Use the store's database; announce changes.

        Occurrences count towards the `rate` limit of their identity.
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

        def select(connection: sa.Connection) -> list[tuple[UUID, datetime]]:
            return [(row.id, row.due_at) for row in connection.execute(statement)]

        return await read_setting_aside(self.database, select, now=datetime.now(UTC))

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
            # If the clock was set back, the email of this time may already exist; then nothing is inserted.
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
    """Match recurring series; the status is a literal, so that Postgres can use the partial index."""
    return emails.c.status == sa.literal_column(f"'{EmailStatus.RECURRING}'")


def _revise(connection: sa.Connection, series: Series) -> bool:
    """Write the series' new state; False if its version changed meanwhile, or it is not recurring."""
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
