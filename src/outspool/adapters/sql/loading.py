"""Reads whole emails: their rows and their parts in other tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.attachments import load_attachments
from outspool.adapters.sql.rows import read_email, read_event, read_recipient
from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.tables import emails, events, recipients
from outspool.adapters.sql.unreadable import RAW_ID, Damage, is_unreadable, make_stand_in, read_events
from outspool.domain.email import Email, Event, Recipient
from outspool.domain.principal import Scope

# Built once: building a statement costs more than executing it.
_EMAIL_ID: sa.BindParameter[Any] = sa.bindparam("email_id", type_=emails.c.id.type)
_BY_RAW_ID = sa.select(emails).where(
    sa.type_coerce(emails.c.id, sa.types.NullType()) == sa.bindparam("raw_id", type_=sa.types.NullType())
)
_EVENTS = sa.select(events).where(events.c.email_id == _EMAIL_ID).order_by(events.c.id)
_RECIPIENTS = (
    sa.select(recipients)
    .where(recipients.c.email_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(recipients.c.email_id, recipients.c.position)
)


def load(connection: sa.Connection, email_id: UUID, scope: Scope) -> Email | None:
    """Return the whole email with its events, or None; what is readable of it if it is damaged."""
    found = emails_of(connection, sa.select(emails).where(emails.c.id == email_id, is_visible(scope)))
    return replace(found[0], events=_events_of(connection, found[0])) if found else None


def emails_of(
    connection: sa.Connection, statement: sa.Select[Any], parameters: dict[str, Any] | None = None
) -> list[Email]:
    """Return the emails that `statement` selects, in its order, without events.

    An unreadable email has `Email.unreadable` set and the status ``unreadable``. A row without a valid id is left out,
    because nobody could refer to it.
    """
    try:
        return read_emails(connection, connection.execute(statement, parameters or {}).mappings().all())
    except Exception as error:
        if not is_unreadable(error):
            raise
    raw_ids = connection.execute(statement.with_only_columns(RAW_ID), parameters or {}).scalars().all()
    return [email for raw_id in raw_ids if (email := read_alone(connection, raw_id)) is not None]


def read_alone(connection: sa.Connection, raw_id: Any) -> Email | None:
    """Return one email without events, as `emails_of` does; None if its id is invalid."""
    try:
        found = read_emails(connection, connection.execute(_BY_RAW_ID, {"raw_id": raw_id}).mappings().all())
    except Exception as error:
        if not is_unreadable(error):
            raise
        return make_stand_in(connection, raw_id, error)
    return found[0] if found else None


def find_damage(connection: sa.Connection, raw_id: Any) -> Damage | None:
    """Return what is wrong with a row of `emails` or its parts; None if it can be read."""
    email = read_alone(connection, raw_id)
    if email is None:
        return Damage(raw_id, "Its id is none.")
    return Damage(raw_id, email.unreadable) if email.unreadable else None


def read_emails(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> list[Email]:
    """Return the emails in `rows`, in their order, with recipients and attachments, without events.

    If one cannot be read (`is_unreadable`), it raises and returns none.
    """
    to = _recipients_of(connection, [row["id"] for row in rows])
    files = load_attachments(connection, rows)
    return [read_email(row, to[row["id"]], attachments=files.get(row["id"], ())) for row in rows]


def _events_of(connection: sa.Connection, email: Email) -> tuple[Event, ...]:
    try:
        return tuple(read_event(e) for e in connection.execute(_EVENTS, {"email_id": email.id}).mappings())
    except Exception as error:
        if not is_unreadable(error):
            raise
    return tuple(read_events(connection, email.id, made_at=email.created_at))


def _recipients_of(connection: sa.Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[Recipient, ...]]:
    found: dict[UUID, list[Recipient]] = {email_id: [] for email_id in ids}
    if ids:
        for row in connection.execute(_RECIPIENTS, {"ids": list(ids)}).mappings():
            found[row["email_id"]].append(read_recipient(row))
    return {email_id: tuple(recipients) for email_id, recipients in found.items()}
