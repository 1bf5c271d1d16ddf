"""The statements of the queue: claim, mark, rescue, and when to look again.

Built once: to build a statement, and look up what it compiles to, costs more than to run it.
"""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningUpdate

from outspool.adapters.sql.rows import problem_values
from outspool.adapters.sql.tables import UtcDateTime, emails, recipients
from outspool.adapters.sql.unreadable import RAW_ID
from outspool.domain.email import Priority, Problem
from outspool.domain.status import CLAIMABLE, EmailStatus, RecipientStatus
from outspool.ports.queue import Expiry

CLAIM_LOST = Problem(
    code="worker_lost",
    message="The worker died after it began to hand the message over, so the server may or may not have it.",
    hint="Ask the recipient, or look into the account's sent mail, before you retry.",
)

_NOW = sa.bindparam("now", type_=UtcDateTime)
_TOKEN: sa.BindParameter[Any] = sa.bindparam("token", type_=emails.c.lease.type)
# Literals, so that Postgres sees the partial indexes fit.
_SENDING: sa.ColumnElement[str] = sa.literal_column(f"'{EmailStatus.SENDING}'")
_WAITING = emails.c.status.in_([sa.literal_column(f"'{s}'") for s in sorted(CLAIMABLE)])
_VERSION = {"version": emails.c.version + 1}
_MOST = sa.bindparam("most", type_=sa.Integer)
_LATE = {priority.rank: priority.delay.total_seconds() for priority in Priority}


def _ours(*, deferred_too: bool) -> sa.ColumnElement[bool]:
    """What a worker of the identity may claim when it is due; while the account is paused, nothing deferred."""
    ours = emails.c.lane == sa.bindparam("identity")
    return ours if deferred_too else sa.and_(ours, emails.c.status != EmailStatus.DEFERRED.value)


def _claim(*, deferred_too: bool, expiry: Expiry) -> sa.Update:
    """Return the claim: the first of each priority, and the first that are out of time; of those the first by turn.

    Of one priority what is due is a range of the index, and its order the index's; of all together it would be
    neither. So it is with what is out of time of one status. The CTEs are fences: each is evaluated once, and what it
    returns is locked. What is in two of them is one row of the union.
    """
    ours = _ours(deferred_too=deferred_too)
    if expiry is Expiry.HELD:
        ours = sa.and_(ours, emails.c.expires_at > _NOW)
    first = [_first(emails.c.due_at, ours, emails.c.rank == rank).cte(f"first_{rank}") for rank in _LATE]
    # Whose own outspool never comes must still end some day, so what is out of time is anybody's to end.
    late = [
        _first(
            emails.c.expires_at, emails.c.status == sa.literal_column(f"'{status}'"), emails.c.expires_at <= _NOW
        ).cte(f"late_{status}")
        for status in (sorted(CLAIMABLE) if expiry is Expiry.ALL else ())
    ]
    due = sa.union(*(sa.select(cte) for cte in (*first, *late))).subquery()
    return (
        emails.update()
        .where(emails.c.id.in_(sa.select(due.c.id).order_by(due.c.turn, due.c.due_at, due.c.id).limit(_MOST)))
        .values(
            status=EmailStatus.SENDING.value,
            lease=_TOKEN,
            lease_until=sa.bindparam("until", type_=UtcDateTime),
            marked_at=None,
            **_VERSION,
        )
    )


def _first(
    order: sa.ColumnElement[datetime], *which: sa.ColumnElement[bool]
) -> sa.Select[tuple[UUID, datetime, float]]:
    """Return the first of `which` that are due, with their turn."""
    turn = sa.extract("epoch", emails.c.due_at) + sa.case(_LATE, value=emails.c.rank)
    return (
        sa.select(emails.c.id, emails.c.due_at, turn.label("turn"))
        .where(_WAITING, *which, emails.c.due_at <= _NOW)
        .order_by(order, emails.c.id)
        .limit(_MOST)
        .with_for_update(skip_locked=True)
    )


def _next_due(*, deferred_too: bool) -> sa.Select[datetime | None]:
    """Return the question; see `_claim` for why it is asked of each priority alone."""
    next_of_each = [
        sa.select(emails.c.due_at)
        .where(_WAITING, _ours(deferred_too=deferred_too), emails.c.rank == rank, emails.c.due_at > _NOW)
        .order_by(emails.c.due_at)
        .limit(1)
        .subquery()
        for rank in _LATE
    ]
    upcoming = sa.union_all(*(sa.select(of_one.c.due_at) for of_one in next_of_each)).subquery()
    return sa.select(sa.func.min(upcoming.c.due_at))


_KINDS = tuple(itertools.product((True, False), Expiry))

CLAIM = {(flag, expiry): _claim(deferred_too=flag, expiry=expiry).returning(*emails.c) for flag, expiry in _KINDS}
"""By whether the deferred are claimed too, and what may expire; parameters identity, now, most, token, until."""

CLAIM_IDS = {(flag, expiry): _claim(deferred_too=flag, expiry=expiry).returning(RAW_ID) for flag, expiry in _KINDS}
"""The same, and nothing is read of the rows: for when one of them cannot be read."""

NEXT_DUE = {flag: _next_due(deferred_too=flag) for flag in (True, False)}
"""By whether the deferred are claimed too; parameters identity, now."""

FIRST_OF_EACH = {
    rank: sa.select(emails.c.due_at)
    .where(_WAITING, _ours(deferred_too=True), emails.c.rank == rank, emails.c.due_at <= _NOW)
    .order_by(emails.c.due_at, emails.c.id)
    .limit(1)
    for rank in _LATE
}
"""The due time of the first that is due, by rank; parameters identity, now."""

MARK = (
    emails.update()
    .where(
        emails.c.id.in_(sa.bindparam("ids", expanding=True)),
        emails.c.lease.in_(sa.bindparam("tokens", expanding=True)),
        emails.c.status == _SENDING,
        emails.c.lease_until > _NOW,
    )
    .values(marked_at=_NOW, lease_until=sa.bindparam("until", type_=UtcDateTime))
    .returning(emails.c.id, emails.c.lease)
)
"""Parameters ids, tokens, now, until. It returns which lease holds which email: the caller compares."""

EXTEND = (
    emails.update()
    .where(emails.c.status == _SENDING, emails.c.lease.in_(sa.bindparam("tokens", expanding=True)))
    .values(lease_until=sa.bindparam("until", type_=UtcDateTime))
)
"""Parameters tokens, until."""

_PUT_OFF_TOO_FAR = sa.or_(
    sa.and_(emails.c.status == EmailStatus.QUEUED.value, emails.c.due_at > sa.bindparam("soon", type_=UtcDateTime)),
    sa.and_(
        emails.c.status == EmailStatus.DEFERRED.value,
        emails.c.due_at > sa.bindparam("furthest", type_=UtcDateTime),
        sa.or_(emails.c.scheduled_at.is_(None), emails.c.due_at > emails.c.scheduled_at),
    ),
)
CLAMP = (
    emails.update()
    .where(emails.c.lane == sa.bindparam("identity"), _WAITING, _PUT_OFF_TOO_FAR)
    .values(due_at=_NOW, **_VERSION)
    .returning(emails.c.id, emails.c.status)
)
"""Makes due what a wrong clock put off; parameters identity, now, soon, furthest."""


def _of_the_dead(*also: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """What nobody holds any more. A row that its worker is at this moment writing is left for the next time."""
    dead = (
        sa.select(emails.c.id)
        .where(emails.c.status == _SENDING, emails.c.lease_until <= _NOW, *also)
        .with_for_update(skip_locked=True)
        .cte("dead")
    )
    return emails.c.id.in_(sa.select(dead.c.id))


def _requeue(*, marked_too: bool) -> ReturningUpdate[Any]:
    which = sa.true() if marked_too else emails.c.marked_at.is_(None)
    freed = {"status": EmailStatus.QUEUED.value, "lease": None, "lease_until": None, "marked_at": None, **_VERSION}
    return emails.update().where(_of_the_dead(which)).values(freed).returning(emails.c.id)


REQUEUE = {flag: _requeue(marked_too=flag) for flag in (True, False)}
"""Frees what dead workers had not marked, or by flag all of it; parameter now."""

# The lease's token stays: should its worker still live and learn the outcome, it may settle the doubt.
DOUBT = (
    emails.update()
    .where(_of_the_dead(emails.c.marked_at.is_not(None)))
    .values(status=EmailStatus.UNKNOWN.value, lease_until=None, **problem_values(CLAIM_LOST), **_VERSION)
    .returning(emails.c.id)
)
"""Leaves what dead workers had marked in doubt; parameter now."""

DOUBT_RECIPIENTS = (
    recipients.update()
    .where(
        recipients.c.email_id.in_(sa.bindparam("ids", expanding=True)),
        recipients.c.status.in_([RecipientStatus.PENDING.value, RecipientStatus.DEFERRED.value]),
    )
    .values(status=RecipientStatus.UNKNOWN.value)
)
"""Sets every recipient that was still owed to ``unknown``, for any may have been served; parameter ids."""
