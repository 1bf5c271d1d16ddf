"""Inserts new emails with all their parts, within the rate limit of their identity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.attachments import add_attachments
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.rows import email_values, recipient_values
from outspool.adapters.sql.tables import emails, recipients, tags
from outspool.domain.cap import Cap, rate_limit_error
from outspool.domain.email import Email, Event
from outspool.domain.setting import Setting
from outspool.errors import InvalidArgument


def _build_insert(insert: Any) -> Any:
    return insert(emails).on_conflict_do_nothing().returning(emails.c.id)


# Built once: building a statement costs more than executing it.
_ADD = {"postgresql": _build_insert(postgresql.insert), "sqlite": _build_insert(sqlite.insert)}
_ADD_RECIPIENTS = recipients.insert()
_ADD_TAGS = tags.insert()


class Admission:
    """Inserts new emails inside the caller's transaction."""

    def __init__(self, database: Database, *, rate: Cap) -> None:
        """Accept at most `rate` emails of each identity."""
        self._database = database
        self._rate = rate

    def admit(self, connection: sa.Connection, requests: Sequence[tuple[Email, Event]]) -> list[bool]:
        """Insert new emails, each with its first event; return for each whether it was new.

        An email is not new if its id, its idempotency key, or its series and time are already there. Raises
        `InvalidArgument` if the batch is larger than the rate limit allows at any time, and `CapReached`: roll back,
        then call `refuse`.
        """
        add = _ADD[connection.dialect.name]
        stored = [False] * len(requests)
        # All transactions insert keys in the same order, so that two of them cannot deadlock.
        for place in sorted(range(len(requests)), key=lambda n: requests[n][0].idempotency_key or ""):
            stored[place] = connection.scalar(add, email_values(requests[place][0])) is not None
        new = [one for one, is_stored in zip(requests, stored, strict=True) if is_stored]
        if new:
            by_identity = Counter(email.identity for email, _ in new)
            for identity, number in sorted(by_identity.items()):
                self._count(connection, identity, number, now=new[0][0].created_at)
            add_parts(connection, [email for email, _ in new])
            add_events(connection, [(email.id, event) for email, event in new])
        return stored

    async def refuse(self, reached: sql_meter.CapReached, *, identity: str, now: datetime) -> NoReturn:
        """Raise `RateLimited`, after `admit` found that there were too many emails of `identity`."""
        await sql_meter.mend(self._database, _meter_name(identity), reached, now=now)
        raise rate_limit_error(self._rate, now=now, again_at=reached.at) from None

    def _count(self, connection: sa.Connection, identity: str, number: int, *, now: datetime) -> None:
        if number > self._rate.most:
            raise InvalidArgument(
                f"{number} new emails are more than the {self._rate.most} that {Setting.RATE_LIMIT} allows.",
                "Send smaller batches, an hour apart.",
            )
        sql_meter.take(connection, _meter_name(identity), number, self._rate, now=now)


def add_parts(connection: sa.Connection, new: Sequence[Email]) -> None:
    """Insert recipients, tags and attachments of the emails."""
    connection.execute(_ADD_RECIPIENTS, [row for email in new for row in recipient_values(email.id, email.recipients)])
    if labels := [{"tag": tag, "email_id": email.id} for email in new for tag in email.content.tags]:
        connection.execute(_ADD_TAGS, labels)
    add_attachments(connection, new)


def _meter_name(identity: str) -> str:
    return f"accepted {identity}"
