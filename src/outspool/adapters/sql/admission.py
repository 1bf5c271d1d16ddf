"""Stores new emails with all their parts, and no more of an identity than its rate allows."""

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


# Built once: to build a statement, and look up what it compiles to, costs more than to run it.
_ADD = {"postgresql": _build_insert(postgresql.insert), "sqlite": _build_insert(sqlite.insert)}
_ADD_RECIPIENTS = recipients.insert()
_ADD_TAGS = tags.insert()


class Admission:
    """Admits new emails; who uses it brings the transaction."""

    def __init__(self, database: Database, *, rate: Cap) -> None:
        """Admit no more than `rate` for each identity."""
        self._database = database
        self._rate = rate

    def admit(self, connection: sa.Connection, requests: Sequence[tuple[Email, Event]]) -> list[bool]:
        """Store new emails, each with its first event, and say which were new: neither they nor their twins are there.

        A twin has the same idempotency key, or is of the same series for the same time. Raises `InvalidArgument` when
        so many can never be accepted at once, and `CapReached`: roll back, then call `refuse`.
        """
        add = _ADD[connection.dialect.name]
        stored = [False] * len(requests)
        # Everybody takes the keys in one order, so that no two transactions wait for each other.
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
    """Store what emails have any number of."""
    connection.execute(_ADD_RECIPIENTS, [row for email in new for row in recipient_values(email.id, email.recipients)])
    if labels := [{"tag": tag, "email_id": email.id} for email in new for tag in email.content.tags]:
        connection.execute(_ADD_TAGS, labels)
    add_attachments(connection, new)


def _meter_name(identity: str) -> str:
    return f"accepted {identity}"
