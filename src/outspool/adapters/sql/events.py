"""Writes the events of emails, the one place that does, and reads them in an order that misses none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.rows import event_values, read_event
from outspool.adapters.sql.tables import TransactionId, events
from outspool.domain.email import Event

# Built once: building a statement costs more than executing it.
_ADD_EVENT = events.insert()


def add_events(connection: sa.Connection, new: Iterable[tuple[UUID, Event]]) -> None:
    """Append events to their emails' histories, in this order."""
    if rows := [event_values(email_id, event) for email_id, event in new]:
        connection.execute(_ADD_EVENT, rows)


@dataclass(frozen=True, slots=True)
class EventCursor:
    """A reader's position: transaction (Postgres; 0 on SQLite) and id of the last event it has seen."""

    transaction: int = 0
    event: int = 0


class SqlEventFeed:
    """The events of all emails, in an order that no later commit can change.

    On Postgres, ids alone do not give such an order: a transaction may take its ids first and commit last, after a
    reader has passed them. So events are ordered by transaction, and only transactions older than the oldest running
    one (``pg_snapshot_xmin``) are read: no event can be added among those. Events of versions that recorded no
    transaction come first. SQLite has one writer at a time, so ids are in commit order.
    """

    def __init__(self, database: Database) -> None:
        """Read from `database`."""
        self._database = database

    async def read(self, after: EventCursor, *, limit: int) -> Sequence[tuple[EventCursor, UUID, Event]]:
        """Return up to `limit` events after `after`, each with its cursor and its email's id.

        An event appears once every older transaction of the database has ended. Raises `StoreUnavailable`.
        """
        statement = _after_on_postgres(after) if self._database.is_postgres else _after_on_sqlite(after)
        rows = await self._database.read(lambda connection: connection.execute(statement.limit(limit)).mappings().all())
        return [(EventCursor(int(row["position"]), row["id"]), row["email_id"], read_event(row)) for row in rows]


def _after_on_postgres(after: EventCursor) -> sa.Select[tuple[object, ...]]:
    # asyncpg passes `xid8` as text only.
    reached = sa.cast(sa.literal(str(after.transaction)), TransactionId())
    is_settled = events.c.xact < sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
    if after.transaction:
        is_later = sa.and_(
            is_settled, sa.tuple_(events.c.xact, events.c.id) > sa.tuple_(reached, sa.literal(after.event))
        )
    else:
        is_later = sa.or_(is_settled, sa.and_(events.c.xact.is_(None), events.c.id > after.event))
    position = sa.func.coalesce(sa.cast(sa.cast(events.c.xact, sa.Text), sa.BigInteger), 0)
    return (
        sa.select(events, position.label("position")).where(is_later).order_by(events.c.xact.nulls_first(), events.c.id)
    )


def _after_on_sqlite(after: EventCursor) -> sa.Select[tuple[object, ...]]:
    return sa.select(events, sa.literal(0).label("position")).where(events.c.id > after.event).order_by(events.c.id)
