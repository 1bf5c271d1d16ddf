"""Creates and changes series, and makes their occurrences. Pure; `Occurrences` stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from outspool.domain.email import Email, Event, Recipient
from outspool.domain.recurrence import Recurrence, read_recurrence
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import When, parse_delay, resolve_moment
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus
from outspool.errors import InvalidArgument, InvalidSchedule
from outspool.message.compose import new_message_id

SERIES_FIELDS = frozenset({"recurrence", "until", "count", "paused"})
"""Fields of `update_email` that only a series has."""
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def plan_times(when: When | None, *, now: datetime) -> tuple[Recurrence | None, datetime | None]:
    """Return the rule of a series and the (first) time; None for an email that is due now. Raises `InvalidSchedule`."""
    if when is None:
        return None, None
    _check_has_time(when)
    rule = read_rule(when)
    if rule is None:
        return None, when.moment(now=now)
    rule = start_rule(rule, when, now=now)
    return rule, rule.first(now=now)


def check_times(when: When, faults: RefusalCollector) -> None:
    """Collect what is wrong with the texts of a time, whatever the time is now."""
    with faults.collect():
        _check_has_time(when)
    with faults.collect():
        read_rule(when)
    if when.scheduled_at is not None and not when.is_now:
        with faults.collect():
            resolve_moment(when.scheduled_at, when.timezone)
    if when.delay is not None:
        with faults.collect():
            parse_delay(when.delay, now=_ANY_TIME)


def lacks_time(when: When | None) -> bool:
    """Tell whether an email that is to be scheduled has neither a time nor a rule."""
    return when is not None and not when.has_time and when.recurrence is None


def _check_has_time(when: When) -> None:
    if lacks_time(when):
        raise InvalidSchedule(
            "Neither scheduled_at nor delay is given.",
            "Give one: scheduled_at 2026-11-23T09:00:00+01:00, delay PT2H, or recurrence. Nothing was scheduled.",
        )


def read_rule(when: When) -> Recurrence | None:
    """Return the caller's recurrence rule; None if there is none. Raises `InvalidSchedule`."""
    if when.recurrence is not None:
        return read_recurrence(when.recurrence, timezone=when.timezone, until=when.until, count=when.count)
    if when.until is not None or when.count is not None:
        raise InvalidSchedule(
            "until and count end a recurrence, and none is given.",
            "Leave them out for a single email, or give `recurrence`, too.",
        )
    return None


def start_rule(rule: Recurrence, when: When | None, *, now: datetime) -> Recurrence:
    """Return `rule` starting no earlier than the time in `when`, if it has one."""
    if when is None or not when.has_time:
        return rule
    if when.scheduled_at is None:  # a delay needs no zone; this one belongs to the rule
        when = replace(when, timezone=None)
    return replace(rule, start=when.moment(now=now))


def make_series(first: Email, rule: Recurrence) -> Series:
    """Return the series whose first occurrence is `first`."""
    parts = {part.name: getattr(first, part.name) for part in fields(first)}
    return Series(**{**parts, "status": EmailStatus.RECURRING}, recurrence=rule)


def change_series(series: Series, changes: Mapping[str, Any], when: When | None, *, now: datetime) -> Series:
    """Return `series` with a changed rule, start or end, paused or resumed.

    `changes` is keyed by `SERIES_FIELDS`; no occurrence is earlier than a time in `when`. Raises `InvalidSchedule`,
    also if there would be no occurrence.
    """
    before = series.recurrence
    rule = start_rule(_change_rule(before, changes, when), _default_zone(when, before), now=now)
    paused = changes.get("paused")
    if paused is None:
        paused = series.status is EmailStatus.PAUSED
    if paused:
        return replace(series, status=EmailStatus.PAUSED, recurrence=rule, scheduled_at=None, problem=None)
    is_unchanged = series.status is EmailStatus.RECURRING and rule == before
    due_at = series.due_at if is_unchanged else rule.first(now=now)
    return replace(
        series,
        status=EmailStatus.RECURRING,
        recurrence=rule,
        due_at=due_at,
        scheduled_at=due_at,
        date=due_at,
        problem=None,
    )


def _change_rule(rule: Recurrence, changes: Mapping[str, Any], when: When | None) -> Recurrence:
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
    unchanged = {name: getattr(rule, name) for name in ("until", "count") if name not in changes}
    return replace(read, start=rule.start, **unchanged)


def _default_zone(when: When | None, rule: Recurrence) -> When | None:
    """Set the series' time zone for a time without offset."""
    if when is None or when.scheduled_at is None or when.timezone is not None:
        return when
    return replace(when, timezone=rule.timezone)


def advance_series(series: Series, at: datetime, *, now: datetime) -> Series:
    """Return `series` after its occurrence `at` was made: waiting for the next, or ended."""
    rule = replace(series.recurrence, made=series.recurrence.made + 1)
    due_at = rule.next_after(max(at, now))
    if due_at is None:
        return replace(series, status=EmailStatus.ENDED, recurrence=rule, scheduled_at=None)
    return replace(series, recurrence=rule, due_at=due_at, scheduled_at=due_at, date=due_at)


def make_occurrence(series: Series, at: datetime, *, now: datetime, email_id: UUID, expire_after: timedelta) -> Email:
    """Return the email of the occurrence `at`; it expires `expire_after` from `now`."""
    content = series.content
    return Email(
        id=email_id,
        status=EmailStatus.QUEUED,
        content=content,
        recipients=tuple(Recipient(kind=kind, mailbox=mailbox) for kind, mailbox in content.list_recipients()),
        message_id=new_message_id(email_id, content.sender),
        date=now,
        created_at=now,
        due_at=at,
        expires_at=now + expire_after,
        scheduled_at=at,
        timezone=series.recurrence.timezone,
        identity=series.identity,
        owner=series.owner,
        agent=series.agent,
        client=series.client,
        fingerprint=series.fingerprint,
        series_id=series.id,
        occurs_at=at,
    )


def occurrence_event(series: Series, at: datetime, *, now: datetime) -> Event:
    """Return the first event of an occurrence's email."""
    missed = "" if at == series.due_at else f" No worker ran from {series.due_at:%Y-%m-%dT%H:%M:%SZ} on."
    return Event(at=now, status=EmailStatus.QUEUED, code="accepted", detail=f"One of the series {series.id}.{missed}")
