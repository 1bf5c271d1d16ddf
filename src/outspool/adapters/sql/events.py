"""Writes the history of emails, in one place, and lets readers follow it without missing an event."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.rows import event_values, read_event
from outspool.adapters.sql.tables import TransactionId, events
from outspool.domain.email import Event

# Built once: to build a statement, and look up what it compiles to, costs more than to run it.
_ADD_EVENT = events.insert()


def add_events(connection: sa.Connection, new: Iterable[tuple[UUID, Event]]) -> None:
    """Append events to the histories of their emails, in this order."""
    if rows := [event_values(email_id, event) for email_id, event in new]:
        connection.execute(_ADD_EVENT, rows)


@dataclass(frozen=True, slots=True)
class EventCursor:
    """How far a reader has come: the transaction (Postgres; 0 elsewhere) and the id of the last event it has seen."""

    transaction: int = 0
    event: int = 0


class SqlEventFeed:
    """The events of all emails, in an order that no later commit can change.

    Ids alone are no such order on Postgres: a transaction that took its ids earlier may commit later, behind a reader's
    back. So events are read in the order of their transactions, and only those of transactions below the oldest that
    is still running (``pg_snapshot_xmin``): nothing can be added there any more. Events of versions that recorded no
    transaction come first. SQLite has one writer at a time, so there the order of ids is the order of commits.
    """

    def __init__(self, database: Database) -> None:
        """Read from this database."""
        self._database = database

    async def read(self, after: EventCursor, *, limit: int) -> Sequence[tuple[EventCursor, UUID, Event]]:
        """Return up to `limit` events later than `after`, each with its cursor and the id of its email.

        An event may take as long to appear as the longest running transaction of the database. Raises
        `StoreUnavailable`.
        """
        statement = _after_on_postgres(after) if self._database.is_postgres else _after_on_sqlite(after)
        rows = await self._database.read(lambda connection: connection.execute(statement.limit(limit)).mappings().all())
        return [(EventCursor(int(row["position"]), row["id"]), row["email_id"], read_event(row)) for row in rows]


def _after_on_postgres(after: EventCursor) -> sa.Select[tuple[object, ...]]:
    # `xid8` reaches the driver as text, and no other way.
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
