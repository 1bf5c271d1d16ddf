"""The SQL statements of the queue: claim, mark, rescue, and the next due time.

They are built once, because building a statement costs more than executing it.
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
# Literals instead of parameters, so that Postgres can use the partial indexes.
_SENDING: sa.ColumnElement[str] = sa.literal_column(f"'{EmailStatus.SENDING}'")
_WAITING = emails.c.status.in_([sa.literal_column(f"'{s}'") for s in sorted(CLAIMABLE)])
_VERSION = {"version": emails.c.version + 1}
_MOST = sa.bindparam("most", type_=sa.Integer)
_DELAY_BY_RANK = {priority.rank: priority.delay.total_seconds() for priority in Priority}


def _is_claimable(*, deferred_too: bool) -> sa.ColumnElement[bool]:
    """Match emails that a worker of the identity may claim; without `deferred_too`, no deferred ones."""
    is_claimable = emails.c.lane == sa.bindparam("identity")
    return is_claimable if deferred_too else sa.and_(is_claimable, emails.c.status != EmailStatus.DEFERRED.value)


def _claim(*, deferred_too: bool, expiry: Expiry) -> sa.Update:
    """Build the claim: one UPDATE that takes the first emails by turn and gives them to a lease.

    No two workers can claim the same email: the subqueries lock what they select (FOR UPDATE) and skip what another
    transaction has locked (SKIP LOCKED), so workers neither wait for each other nor take the same rows. SQLite has one
    writer at a time and needs no row locks.

    An email's turn is its due time plus its priority's delay. No index has that order over all priorities, so each
    priority is read by itself, in the order of an index on its due time, `most` rows at most; the same for each status
    of the emails that have expired. The union of these small sets is sorted and cut to `most`. Each CTE is evaluated
    once, so exactly the rows it returns are locked; an email in two of them is one row of the union.
    """
    is_claimable = _is_claimable(deferred_too=deferred_too)
    if expiry is Expiry.HELD:
        is_claimable = sa.and_(is_claimable, emails.c.expires_at > _NOW)
    first = [
        _select_first(emails.c.due_at, is_claimable, emails.c.rank == rank).cte(f"first_{rank}")
        for rank in _DELAY_BY_RANK
    ]
    # Any worker may expire an email, because the worker of its account may never run again.
    expired = [
        _select_first(
            emails.c.expires_at, emails.c.status == sa.literal_column(f"'{status}'"), emails.c.expires_at <= _NOW
        ).cte(f"late_{status}")
        for status in (sorted(CLAIMABLE) if expiry is Expiry.ALL else ())
    ]
    due = sa.union(*(sa.select(cte) for cte in (*first, *expired))).subquery()
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


def _select_first(
    order: sa.ColumnElement[datetime], *conditions: sa.ColumnElement[bool]
) -> sa.Select[tuple[UUID, datetime, float]]:
    """Select and lock the first due emails matching `conditions`, with their turn, skipping locked ones."""
    turn = sa.extract("epoch", emails.c.due_at) + sa.case(_DELAY_BY_RANK, value=emails.c.rank)
    return (
        sa.select(emails.c.id, emails.c.due_at, turn.label("turn"))
        .where(_WAITING, *conditions, emails.c.due_at <= _NOW)
        .order_by(order, emails.c.id)
        .limit(_MOST)
        .with_for_update(skip_locked=True)
    )


def _next_due(*, deferred_too: bool) -> sa.Select[datetime | None]:
    """Build the query for the next due time. Each priority is asked separately, as in `_claim`."""
    next_of_each = [
        sa.select(emails.c.due_at)
        .where(_WAITING, _is_claimable(deferred_too=deferred_too), emails.c.rank == rank, emails.c.due_at > _NOW)
        .order_by(emails.c.due_at)
        .limit(1)
        .subquery()
        for rank in _DELAY_BY_RANK
    ]
    upcoming = sa.union_all(*(sa.select(subquery.c.due_at) for subquery in next_of_each)).subquery()
    return sa.select(sa.func.min(upcoming.c.due_at))


_KINDS = tuple(itertools.product((True, False), Expiry))

CLAIM = {(flag, expiry): _claim(deferred_too=flag, expiry=expiry).returning(*emails.c) for flag, expiry in _KINDS}
"""Keyed by (claim deferred emails too, what may expire). Parameters: identity, now, most, token, until."""

CLAIM_IDS = {(flag, expiry): _claim(deferred_too=flag, expiry=expiry).returning(RAW_ID) for flag, expiry in _KINDS}
"""Like `CLAIM`, but returns ids only: used when a row cannot be read."""

NEXT_DUE = {flag: _next_due(deferred_too=flag) for flag in (True, False)}
"""Keyed by whether deferred emails count. Parameters: identity, now."""

FIRST_OF_EACH = {
    rank: sa.select(emails.c.due_at)
    .where(_WAITING, _is_claimable(deferred_too=True), emails.c.rank == rank, emails.c.due_at <= _NOW)
    .order_by(emails.c.due_at, emails.c.id)
    .limit(1)
    for rank in _DELAY_BY_RANK
}
"""The earliest due time by priority rank. Parameters: identity, now."""

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
"""Marks emails before DATA. Parameters: ids, tokens, now, until.

A marked email is one whose message may have reached the server. The condition is the guard: status, token and an
unexpired lease must all still be those of the claim; otherwise another worker may own the email and nothing may be
sent. Marks are committed in groups, so ids and tokens are lists; the statement returns which lease holds which email,
and the caller compares the pairs.
"""

EXTEND = (
    emails.update()
    .where(emails.c.status == _SENDING, emails.c.lease.in_(sa.bindparam("tokens", expanding=True)))
    .values(lease_until=sa.bindparam("until", type_=UtcDateTime))
)
"""Renews leases. Parameters: tokens, until."""

_IS_DEFERRED_TOO_FAR = sa.or_(
    sa.and_(emails.c.status == EmailStatus.QUEUED.value, emails.c.due_at > sa.bindparam("soon", type_=UtcDateTime)),
    sa.and_(
        emails.c.status == EmailStatus.DEFERRED.value,
        emails.c.due_at > sa.bindparam("furthest", type_=UtcDateTime),
        sa.or_(emails.c.scheduled_at.is_(None), emails.c.due_at > emails.c.scheduled_at),
    ),
)
CLAMP = (
    emails.update()
    .where(emails.c.lane == sa.bindparam("identity"), _WAITING, _IS_DEFERRED_TOO_FAR)
    .values(due_at=_NOW, **_VERSION)
    .returning(emails.c.id, emails.c.status)
)
"""Makes emails due now that a wrong clock deferred. Parameters: identity, now, soon, furthest."""


def _is_abandoned(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Match emails whose lease ran out. Locked rows are skipped: their worker is alive and writing its outcome."""
    dead = (
        sa.select(emails.c.id)
        .where(emails.c.status == _SENDING, emails.c.lease_until <= _NOW, *conditions)
        .with_for_update(skip_locked=True)
        .cte("dead")
    )
    return emails.c.id.in_(sa.select(dead.c.id))


def _requeue(*, marked_too: bool) -> ReturningUpdate[Any]:
    conditions = sa.true() if marked_too else emails.c.marked_at.is_(None)
    values = {"status": EmailStatus.QUEUED.value, "lease": None, "lease_until": None, "marked_at": None, **_VERSION}
    return emails.update().where(_is_abandoned(conditions)).values(values).returning(emails.c.id)


REQUEUE = {flag: _requeue(marked_too=flag) for flag in (True, False)}
"""Requeues unmarked emails of dead workers; keyed by whether marked ones are requeued too. Parameter: now."""

# The lease's token stays: if the worker is alive after all and learns the outcome, it may still record it.
DOUBT = (
    emails.update()
    .where(_is_abandoned(emails.c.marked_at.is_not(None)))
    .values(status=EmailStatus.UNKNOWN.value, lease_until=None, **problem_values(CLAIM_LOST), **_VERSION)
    .returning(emails.c.id)
)
"""Sets marked emails of dead workers to ``unknown``. Parameter: now."""

DOUBT_RECIPIENTS = (
    recipients.update()
    .where(
        recipients.c.email_id.in_(sa.bindparam("ids", expanding=True)),
        recipients.c.status.in_([RecipientStatus.PENDING.value, RecipientStatus.DEFERRED.value]),
    )
    .values(status=RecipientStatus.UNKNOWN.value)
)
"""Sets every recipient still owed the message to ``unknown``: the server may have accepted it. Parameter: ids."""
