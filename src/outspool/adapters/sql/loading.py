"""Reads whole emails: their rows, and what else belongs to them in other tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.attachments import attachments_of
from outspool.adapters.sql.rows import read_email, read_event, read_recipient
from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.tables import emails, events, recipients
from outspool.domain.email import Email, Recipient
from outspool.domain.principal import Scope

# Built once: to build a statement, and look up what it compiles to, costs more than to run it.
_EMAIL_ID: sa.BindParameter[Any] = sa.bindparam("email_id", type_=emails.c.id.type)
_EVENTS = sa.select(events).where(events.c.email_id == _EMAIL_ID).order_by(events.c.id)
_RECIPIENTS = (
    sa.select(recipients)
    .where(recipients.c.email_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(recipients.c.email_id, recipients.c.position)
)


def load(connection: sa.Connection, email_id: UUID, scope: Scope) -> Email | None:
    """Return the whole email, with its events, or None."""
    row = (
        connection.execute(sa.select(emails).where(emails.c.id == email_id, is_visible(scope))).mappings().one_or_none()
    )
    if row is None:
        return None
    past = tuple(read_event(e) for e in connection.execute(_EVENTS, {"email_id": email_id}).mappings())
    to = _recipients_of(connection, [email_id])
    files = attachments_of(connection, [row])
    return read_email(row, to[email_id], past, files.get(email_id, ()))


def emails_of(connection: sa.Connection, statement: sa.Select[Any]) -> list[Email]:
    """Return the emails that `statement` selects, as `with_parts` does."""
    return with_parts(connection, connection.execute(statement).mappings().all())


def with_parts(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> list[Email]:
    """Return the emails of these rows, in their order, with recipients and attachments, without events."""
    to = _recipients_of(connection, [row["id"] for row in rows])
    files = attachments_of(connection, rows)
    return [read_email(row, to[row["id"]], attachments=files.get(row["id"], ())) for row in rows]


def _recipients_of(connection: sa.Connection, ids: Sequence[UUID]) -> dict[UUID, tuple[Recipient, ...]]:
    found: dict[UUID, list[Recipient]] = {email_id: [] for email_id in ids}
    if ids:
        for row in connection.execute(_RECIPIENTS, {"ids": list(ids)}).mappings():
            found[row["email_id"]].append(read_recipient(row))
    return {email_id: tuple(of) for email_id, of in found.items()}
