"""Reads whole emails: their rows, and what else belongs to them in other tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.attachments import attachments_of
from outspool.adapters.sql.rows import read_email, read_event, read_recipient
from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.tables import emails, events, recipients
from outspool.adapters.sql.unreadable import RAW_ID, Damage, is_unreadable, read_events, stand_in
from outspool.domain.email import Email, Event, Recipient
from outspool.domain.principal import Scope

# Built once: to build a statement, and look up what it compiles to, costs more than to run it.
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
    """Return the whole email, with its events, or None; an unreadable one as far as it can be read."""
    found = emails_of(connection, sa.select(emails).where(emails.c.id == email_id, is_visible(scope)))
    return replace(found[0], events=_events_of(connection, found[0])) if found else None


def emails_of(
    connection: sa.Connection, statement: sa.Select[Any], parameters: dict[str, Any] | None = None
) -> list[Email]:
    """Return the emails that `statement` selects, in its order, without events.

    What cannot be read is `Email.unreadable` and has the status ``unreadable``. A row without a valid id is left out:
    nobody could name it.
    """
    try:
        return with_parts(connection, connection.execute(statement, parameters or {}).mappings().all())
    except Exception as error:
        if not is_unreadable(error):
            raise
    raw_ids = connection.execute(statement.with_only_columns(RAW_ID), parameters or {}).scalars().all()
    return [email for raw_id in raw_ids if (email := read_alone(connection, raw_id)) is not None]


def read_alone(connection: sa.Connection, raw_id: Any) -> Email | None:
    """Return one email, without events, as `emails_of` does; None when its id is none."""
    try:
        found = with_parts(connection, connection.execute(_BY_RAW_ID, {"raw_id": raw_id}).mappings().all())
    except Exception as error:
        if not is_unreadable(error):
            raise
        return stand_in(connection, raw_id, error)
    return found[0] if found else None


def damage_of(connection: sa.Connection, raw_id: Any) -> Damage | None:
    """Return what is wrong with a row of `emails` or its parts, None when it can be read."""
    email = read_alone(connection, raw_id)
    if email is None:
        return Damage(raw_id, "Its id is none.")
    return Damage(raw_id, email.unreadable) if email.unreadable else None


def with_parts(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> list[Email]:
    """Return the emails of these rows, in their order, with recipients and attachments, without events.

    Raises, for all of them, when one of them cannot be read (`is_unreadable`).
    """
    to = _recipients_of(connection, [row["id"] for row in rows])
    files = attachments_of(connection, rows)
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
    return {email_id: tuple(of) for email_id, of in found.items()}
