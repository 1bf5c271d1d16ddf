"""The way of new emails into one lane of a database: stored with all their parts, and no more than the cap allows."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.attachments import add_attachments
from outspool.adapters.sql.backend import T
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.rows import email_values, event_values, recipient_values
from outspool.adapters.sql.tables import emails, events, recipients, tags
from outspool.domain.cap import Cap, rate_limited
from outspool.domain.email import Email, Event
from outspool.errors import InvalidArgument


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

    def admit(self, connection: sa.Connection, asked: Sequence[tuple[Email, Event]]) -> list[bool]:
        """Store new emails, each with its first event, and say which were new: neither they nor their twins are there.

        A twin has the same idempotency key, or is of the same series for the same time. Raises `InvalidArgument` when
        so many can never be accepted at once.
        """
        add = _ADD[connection.dialect.name]
        stored = [False] * len(asked)
        # Everybody takes the keys in one order, so that no two transactions wait for each other.
        for place in sorted(range(len(asked)), key=lambda n: asked[n][0].idempotency_key or ""):
            values = {"lane": self._lane, **email_values(asked[place][0])}
            stored[place] = connection.scalar(add, values) is not None
        new = [one for one, is_stored in zip(asked, stored, strict=True) if is_stored]
        if new:
            self._count(connection, len(new), now=new[0][0].created_at)
            add_parts(connection, [email for email, _ in new])
            connection.execute(_ADD_EVENT, [event_values(email.id, event) for email, event in new])
        return stored

    def _count(self, connection: sa.Connection, number: int, *, now: datetime) -> None:
        if number > self._rate.most:
            raise InvalidArgument(
                f"{number} new emails are more than the {self._rate.most} that EMAIL_RATE_LIMIT_PER_HOUR allows.",
                "Send smaller batches, an hour apart.",
            )
        sql_meter.take(connection, self._meter, number, self._rate, now=now)


def add_parts(connection: sa.Connection, asked: Sequence[Email]) -> None:
    """Store what emails have any number of."""
    connection.execute(
        _ADD_RECIPIENTS, [row for email in asked for row in recipient_values(email.id, email.recipients)]
    )
    if labels := [{"tag": tag, "email_id": email.id} for email in asked for tag in email.content.tags]:
        connection.execute(_ADD_TAGS, labels)
    add_attachments(connection, asked)


def note(connection: sa.Connection, email_id: UUID, event: Event) -> None:
    """Add a line to the history of an email."""
    connection.execute(_ADD_EVENT, event_values(email_id, event))
