"""A series of emails: how it begins, how it is changed, and what each of its emails is.

The series is kept like an email, so that it is listed, shown, changed and canceled like one; but only what it makes is
ever sent. All here is pure: `Occurrences` does it when the time comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from outspool.domain.email import Email, Event, Recipient
from outspool.domain.recurrence import Recurrence, read_recurrence
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus
from outspool.errors import InvalidArgument, InvalidSchedule
from outspool.message.compose import new_message_id

FIELDS = frozenset({"recurrence", "until", "count", "paused"})
"""What `update_email` may change of a series alone."""


def planned(when: When | None, *, now: datetime) -> tuple[EmailStatus, datetime | None, Recurrence | None]:
    """Return how a new email begins, when it is scheduled for, and its rule if it is a series.

    Raises `InvalidSchedule`.
    """
    if when is None:
        return EmailStatus.QUEUED, None, None
    rule = rule_asked(when)
    if rule is None:
        return EmailStatus.SCHEDULED, when.moment(now=now), None
    rule = _starting(rule, when, now=now)
    return EmailStatus.RECURRING, rule.first(now=now), rule


def rule_asked(when: When) -> Recurrence | None:
    """Return the rule in the caller's words, None when there is none. Raises `InvalidSchedule`."""
    if when.recurrence is not None:
        return read_recurrence(when.recurrence, timezone=when.timezone, until=when.until, count=when.count)
    if when.until is not None or when.count is not None:
        raise InvalidSchedule("until and count end a recurrence, and none is given.", 'Give one, like "0 9 * * mon".')
    return None


def _starting(rule: Recurrence, when: When | None, *, now: datetime) -> Recurrence:
    """Return `rule` with nothing before the time of `when`, if it names one."""
    if when is None or not when.is_given:
        return rule
    if when.scheduled_at is None:  # a delay needs no zone; the one given is the rule's
        when = replace(when, timezone=None)
    return replace(rule, start=when.moment(now=now))


def changed(series: Email, changes: Mapping[str, Any], when: When | None, *, now: datetime) -> Email:
    """Return `series` with another rule, start or end, paused or resumed; `changes` are of `FIELDS`.

    With a time in `when`, nothing goes out before that. Raises `InvalidSchedule`, also when it would never go out.
    """
    before = series.recurrence
    assert before is not None
    rule = _starting(_changed_rule(before, changes, when), _in_zone(when, before), now=now)
    paused = changes.get("paused")
    if paused is None:
        paused = series.status is EmailStatus.PAUSED
    if paused:
        return replace(series, status=EmailStatus.PAUSED, recurrence=rule, scheduled_at=None, problem=None)
    goes_on = series.status is EmailStatus.RECURRING and rule == before
    due_at = series.due_at if goes_on else rule.first(now=now)
    return replace(
        series,
        status=EmailStatus.RECURRING,
        recurrence=rule,
        due_at=due_at,
        scheduled_at=due_at,
        date=due_at,
        problem=None,
    )


def _changed_rule(rule: Recurrence, changes: Mapping[str, Any], when: When | None) -> Recurrence:
    if "recurrence" in changes and changes["recurrence"] is None:
        raise InvalidArgument("recurrence: a series cannot become a single email.", "cancel_email ends it.")
    zone = (when.timezone if when is not None else None) or rule.timezone
    read = read_recurrence(
        changes.get("recurrence", rule.cron),
        timezone=zone,
        until=changes.get("until"),
        count=changes.get("count"),
        made=rule.made,
    )
    kept = {name: getattr(rule, name) for name in ("until", "count") if name not in changes}
    return replace(read, start=rule.start, **kept)


def _in_zone(when: When | None, rule: Recurrence) -> When | None:
    """Read a time without offset on the clocks of the series."""
    if when is None or when.scheduled_at is None or when.timezone is not None:
        return when
    return replace(when, timezone=rule.timezone)


def advanced(series: Email, at: datetime, *, now: datetime) -> Email:
    """Return `series` after its email of the time `at` was made, at `now`: it waits for the next, or has ended."""
    assert series.recurrence is not None
    rule = replace(series.recurrence, made=series.recurrence.made + 1)
    due_at = rule.following(max(at, now))
    if due_at is None:
        return replace(series, status=EmailStatus.ENDED, recurrence=rule, scheduled_at=None)
    return replace(series, recurrence=rule, due_at=due_at, scheduled_at=due_at, date=due_at)


def occurrence(series: Email, at: datetime, *, now: datetime, email_id: UUID, expire_after: timedelta) -> Email:
    """Return the email of the time `at`, made at `now`: its time to be sent counts from then."""
    content = series.content
    return replace(
        series,
        id=email_id,
        status=EmailStatus.QUEUED,
        recipients=tuple(Recipient(kind=kind, mailbox=mailbox) for kind, mailbox in content.addressed()),
        message_id=new_message_id(email_id, content.sender),
        date=now,
        created_at=now,
        due_at=at,
        expires_at=now + expire_after,
        scheduled_at=at,
        problem=None,
        idempotency_key=None,
        version=0,
        recurrence=None,
        series_id=series.id,
        occurs_at=at,
        events=(),
    )


def occurred(series: Email, at: datetime, *, now: datetime) -> Event:
    """Return the first event of that email."""
    missed = "" if at == series.due_at else f" Nobody was there from {series.due_at:%Y-%m-%dT%H:%M:%SZ} on."
    return Event(at=now, status=EmailStatus.QUEUED, code="accepted", detail=f"One of the series {series.id}.{missed}")
