"""Records transitions in batches: locks the rows, checks each transition's guards, writes those allowed.

Because the guards are checked under the row lock, exactly one of two processes that race for an email finds it in the
expected state. Statements are built once, because building one costs more than executing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.rows import problem_values, recipient_values
from outspool.adapters.sql.tables import OWNER, emails, recipients
from outspool.domain.email import Event, Problem
from outspool.domain.principal import Scope
from outspool.domain.status import EmailStatus
from outspool.domain.transition import Transition


def _new_value(name: str) -> sa.BindParameter[Any]:
    """Return the parameter for a column's new value; in an UPDATE it may not have the column's own name."""
    return sa.bindparam(f"new_{name}", type_=emails.c[name].type)


_LOCK = (
    sa.select(emails.c.id, emails.c.status, emails.c.lease, emails.c.version, emails.c.lane, OWNER.label("owner"))
    .where(emails.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(emails.c.id)
    .with_for_update()
)
_RECORD = (
    emails.update()
    .where(emails.c.id == sa.bindparam("email_id", type_=emails.c.id.type))
    .values(
        version=emails.c.version + 1,
        lease_until=None,
        lease=sa.case((sa.bindparam("keeps_lease", type_=sa.Boolean), emails.c.lease)),
        marked_at=sa.case((sa.bindparam("keeps_lease", type_=sa.Boolean), emails.c.marked_at)),
        policy_override=sa.func.coalesce(_new_value("policy_override"), emails.c.policy_override),
        sent_at=sa.func.coalesce(emails.c.sent_at, _new_value("sent_at")),
        **{name: sa.func.coalesce(_new_value(name), emails.c[name]) for name in ("attempts", "due_at", "expires_at")},
        **{name: _new_value(name) for name in ("status", *problem_values(None))},
    )
)
_OUTCOME = ("status", "code", "enhanced_code", "reply")
_RECORD_RECIPIENT = (
    recipients.update()
    .where(
        recipients.c.email_id == sa.bindparam("of_email", type_=recipients.c.email_id.type),
        recipients.c.position == sa.bindparam("at_position"),
    )
    .values({name: sa.bindparam(f"new_{name}") for name in _OUTCOME})
)


def _ascii(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


@dataclass(frozen=True, slots=True)
class Recording:
    """One transition to record, with its guards."""

    email_id: UUID
    change: Transition
    scope: Scope
    lease: UUID | None
    version: int | None

    def is_allowed(self, row: sa.RowMapping) -> bool:
        """Check status, lease, version and scope against the locked row."""
        return (
            row["status"] in self.change.sources
            and self.lease in (None, row["lease"])
            and self.version in (None, row["version"])
            and self.scope.owner in (None, row["owner"])
            and (self.scope.identities is None or row["lane"] in self.scope.identities)
        )

    def in_ascii(self) -> Recording:
        """Return a copy with texts reduced to ASCII, which any database can store."""
        change = self.change
        problem = change.problem and Problem(
            code=change.problem.code, message=_ascii(change.problem.message), hint=_ascii(change.problem.hint)
        )
        recipients_then = change.recipients and tuple(
            replace(r, reply=r.reply and replace(r.reply, text=_ascii(r.reply.text))) for r in change.recipients
        )
        reduced = replace(change, detail=_ascii(change.detail), problem=problem, recipients=recipients_then)
        return replace(self, change=reduced)

    def values(self) -> dict[str, Any]:
        """Return the parameters of `_RECORD`."""
        change = self.change
        columns = {
            "status": change.target.value,
            "attempts": change.attempts,
            "due_at": change.due_at,
            "expires_at": change.expires_at,
            "policy_override": change.overrides_policy,
            "sent_at": change.at if change.target in (EmailStatus.SENT, EmailStatus.PARTIAL) else None,
            **problem_values(change.problem),
        }
        values: dict[str, Any] = {f"new_{name}": value for name, value in columns.items()}
        return values | {"email_id": self.email_id, "keeps_lease": change.keeps_lease}

    def recipient_rows(self) -> list[dict[str, Any]]:
        """Return the parameters of `_RECORD_RECIPIENT`, one set per recipient."""
        return [
            {
                "of_email": self.email_id,
                "at_position": row["position"],
                **{f"new_{name}": row[name] for name in _OUTCOME},
            }
            for row in recipient_values(self.email_id, self.change.recipients or ())
        ]

    def event(self) -> Event:
        """Return the event of the transition."""
        change = self.change
        return Event(at=change.at, status=change.target, code=change.code, detail=change.detail, actor=change.actor)


def record_all(connection: sa.Connection, recordings: Sequence[Recording]) -> list[bool]:
    """Apply each recording whose guards allow it; return for each whether it was applied.

    Several recordings for one email are applied in their order, each against the row as the one before left it.
    """
    is_applied: dict[int, bool] = {}
    while remaining := [index for index in range(len(recordings)) if index not in is_applied]:
        firsts = {recordings[index].email_id: index for index in reversed(remaining)}
        rows = {row["id"]: row for row in connection.execute(_LOCK, {"ids": list(firsts)}).mappings()}
        for email_id, index in firsts.items():
            is_applied[index] = email_id in rows and recordings[index].is_allowed(rows[email_id])
        _apply(connection, [recordings[index] for index in firsts.values() if is_applied[index]])
    return [is_applied[index] for index in range(len(recordings))]


def _apply(connection: sa.Connection, allowed: Sequence[Recording]) -> None:
    if not allowed:
        return
    connection.execute(_RECORD, [recording.values() for recording in allowed])
    if outcomes := [row for recording in allowed for row in recording.recipient_rows()]:
        connection.execute(_RECORD_RECIPIENT, outcomes)
    add_events(connection, [(recording.email_id, recording.event()) for recording in allowed])
