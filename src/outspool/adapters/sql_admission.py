"""The way of new emails into one lane of a database: stored with all their parts, and no more than the cap allows."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters import sql_meter
from outspool.adapters.sql_database import Database
from outspool.adapters.sql_line import T
from outspool.adapters.sql_rows import email_values, event_values, recipient_values
from outspool.adapters.sql_tables import emails, events, recipients, tags
from outspool.domain.cap import Cap, rate_limited
from outspool.domain.email import Email, Event


def _adding(insert: Any) -> Any:
    return insert(emails).on_conflict_do_nothing().returning(emails.c.id)


# Built once: to build a statement, and look up what it compiles to, costs more than to run it.
_ADD = {"postgresql": _adding(postgresql.insert), "sqlite": _adding(sqlite.insert)}
_ADD_RECIPIENTS = recipients.insert()
_ADD_TAGS = tags.insert()
_ADD_EVENT = events.insert()


class Admission:
    """Admits new emails; who uses it brings the transaction."""

    def __init__(self, database: Database, *, lane: str, rate: Cap) -> None:
        """Admit into `lane`, no more than `rate`."""
        self._database = database
        self._lane = lane
        self._rate = rate
        self._meter = f"accepted {lane}"

    async def obey(self, transaction: Awaitable[T], *, now: datetime) -> T:
        """Return what `transaction`, which admits emails, returns. Raises `RateLimited` when they are too many."""
        try:
            return await transaction
        except sql_meter.CapReached as reached:
            await sql_meter.mend(self._database, self._meter, reached, now=now)
            raise rate_limited(self._rate, now=now, again_at=reached.at) from None

    def admit(self, connection: sa.Connection, email: Email, event: Event) -> bool:
        """Store a new email and its first event; False, and nothing, when it or its twin is there already.

        Its twin has its idempotency key, or is of the same series for the same time.
        """
        values = {"lane": self._lane, **email_values(email)}
        if connection.scalar(_ADD[connection.dialect.name], values) is None:
            return False
        sql_meter.take(connection, self._meter, 1, self._rate, now=email.created_at)
        add_parts(connection, email)
        note(connection, email.id, event)
        return True


def add_parts(connection: sa.Connection, email: Email) -> None:
    """Store what an email has any number of."""
    connection.execute(_ADD_RECIPIENTS, recipient_values(email.id, email.recipients))
    if email.content.tags:
        connection.execute(_ADD_TAGS, [{"tag": tag, "email_id": email.id} for tag in email.content.tags])


def note(connection: sa.Connection, email_id: UUID, event: Event) -> None:
    """Add a line to the history of an email."""
    connection.execute(_ADD_EVENT, event_values(email_id, event))
