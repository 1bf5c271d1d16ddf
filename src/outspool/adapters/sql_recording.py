"""Recording a transition: the guarded statement behind every change of status, and its parameters.

Built once: to build a statement, and look up what it compiles to, costs more than to run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql_rows import event_values, problem_values, recipient_values
from outspool.adapters.sql_tables import emails, events, recipients
from outspool.domain.email import Event
from outspool.domain.status import EmailStatus
from outspool.domain.transition import Transition


def _given(name: str) -> sa.BindParameter[Any]:
    """Return the parameter for a column of `emails`; no name of a column may stand for itself in an UPDATE."""
    return sa.bindparam(f"new_{name}", type_=emails.c[name].type)


_RECORD = (
    emails.update()
    .where(
        emails.c.id == sa.bindparam("email_id", type_=emails.c.id.type),
        emails.c.status.in_(sa.bindparam("sources", expanding=True)),
        sa.or_(_given("lease").is_(None), emails.c.lease == _given("lease")),
        sa.or_(_given("version").is_(None), emails.c.version == _given("version")),
    )
    .values(
        version=emails.c.version + 1,
        lease_until=None,
        lease=sa.case((sa.bindparam("keeps_lease", type_=sa.Boolean), emails.c.lease)),
        marked_at=sa.case((sa.bindparam("keeps_lease", type_=sa.Boolean), emails.c.marked_at)),
        sent_at=sa.func.coalesce(emails.c.sent_at, _given("sent_at")),
        **{name: sa.func.coalesce(_given(name), emails.c[name]) for name in ("attempts", "due_at", "expires_at")},
        **{name: _given(name) for name in ("status", *problem_values(None))},
    )
    .returning(emails.c.id)
)
_ADD_EVENT = events.insert()
_OUTCOME = ("status", "code", "enhanced_code", "reply")
_RECORD_RECIPIENT = (
    recipients.update()
    .where(
        recipients.c.email_id == sa.bindparam("of_email", type_=recipients.c.email_id.type),
        recipients.c.position == sa.bindparam("at_position"),
    )
    .values({name: sa.bindparam(f"new_{name}") for name in _OUTCOME})
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One transition to be recorded, under its guards."""

    email_id: UUID
    change: Transition
    lease: UUID | None
    version: int | None

    def values(self) -> dict[str, Any]:
        """Return the parameters of `_RECORD`."""
        change = self.change
        columns = {
            "lease": self.lease,
            "version": self.version,
            "status": change.target.value,
            "attempts": change.attempts,
            "due_at": change.due_at,
            "expires_at": change.expires_at,
            "sent_at": change.at if change.target in (EmailStatus.SENT, EmailStatus.PARTIAL) else None,
            **problem_values(change.problem),
        }
        values: dict[str, Any] = {f"new_{name}": value for name, value in columns.items()}
        return values | {
            "email_id": self.email_id,
            "sources": sorted(change.sources),
            "keeps_lease": change.keeps_lease,
        }

    def recipient_rows(self) -> list[dict[str, Any]]:
        """Return the parameters of `_RECORD_RECIPIENT` for each recipient."""
        return [
            {
                "of_email": self.email_id,
                "at_position": row["position"],
                **{f"new_{name}": row[name] for name in _OUTCOME},
            }
            for row in recipient_values(self.email_id, self.change.recipients or ())
        ]

    def event_row(self) -> dict[str, Any]:
        """Return the event of the change."""
        change = self.change
        event = Event(at=change.at, status=change.target, code=change.code, detail=change.detail)
        return event_values(self.email_id, event)


def record_all(connection: sa.Connection, asked: Sequence[Recording]) -> list[bool]:
    """Apply each that its guards allow, in their order, and say which were."""
    answers = [connection.scalar(_RECORD, one.values()) is not None for one in asked]
    applied = [one for one, is_applied in zip(asked, answers, strict=True) if is_applied]
    if outcomes := [row for one in applied for row in one.recipient_rows()]:
        connection.execute(_RECORD_RECIPIENT, outcomes)
    if applied:
        connection.execute(_ADD_EVENT, [one.event_row() for one in applied])
    return answers
