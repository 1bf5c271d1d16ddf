"""The rule of a series: its times and its end."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from outspool.domain.cron_fields import read_cron
from outspool.domain.cron_times import next_time
from outspool.domain.schedule import resolve_moment
from outspool.domain.time_zones import read_zone
from outspool.errors import InvalidSchedule, brief

_INSTANT = timedelta(microseconds=1)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_OFFSET = re.compile(r".*(?:[Zz]|[+-]\d\d(?::?\d\d)?)", re.ASCII)
_LAST_YEAR = 2199
_MOST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """Every time of `cron` (five fields) in `timezone` (IANA), from `start` (UTC, inclusive) on.

    It ends after `until` (UTC, inclusive), or once `count` emails are `made`, whichever comes first; None is no end.
    """

    cron: str
    timezone: str
    start: datetime | None = None
    until: datetime | None = None
    count: int | None = None
    made: int = 0

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time (UTC) after `moment`; None if the series ends before."""
        if self.count is not None and self.made >= self.count:
            return None
        after = moment if self.start is None else max(moment, self.start - _INSTANT)
        candidate = next_time(read_cron(self.cron), ZoneInfo(self.timezone), after=after)
        return None if candidate is None or (self.until is not None and candidate > self.until) else candidate

    def latest_until(self, first: datetime, *, now: datetime) -> datetime:
        """Return the last time up to `now`, at or after `first`: of several missed times only this one is made up."""
        last, end = first, now  # invariant: no time in (`end`, `now`]
        while (candidate := self.next_after(last)) is not None and candidate <= end:
            middle = candidate + (end - candidate) / 2
            later = self.next_after(middle)
            if later is not None and later <= end:
                last = later
            else:
                last, end = candidate, middle
        return last

    def first(self, *, now: datetime) -> datetime:
        """Return the first time (UTC) at or after `now`. Raises `InvalidSchedule` if there is none."""
        first = self.next_after(now - _INSTANT)
        if first is not None:
            return first
        if self.count is not None and self.made >= self.count:
            raise InvalidSchedule(f"count {self.count} is reached: {self.made} were made.", "Give a higher count.")
        endless = replace(self, until=None).next_after(now - _INSTANT)
        if endless is None:
            raise InvalidSchedule(
                f"recurrence {brief(self.cron)} never comes true: there is no such day.",
                "Check its day and month; L as the day is the last one of the month.",
            )
        raise InvalidSchedule(f"until is before the first time, {endless:%Y-%m-%dT%H:%M:%SZ}.", "Give a later one.")


def read_recurrence(
    cron: str, *, timezone: str | None, until: str | None = None, count: int | None = None, made: int = 0
) -> Recurrence:
    """Return the caller's rule. Raises `InvalidSchedule` if it is invalid.

    `until` is a time, in `timezone` if it has no offset, or a date, which is included. The rule is normalised: spacing
    and case make no difference.
    """
    read_cron(cron)
    if timezone is None:
        raise InvalidSchedule(
            "recurrence needs a timezone.", "Name the place whose clocks are meant, as Area/City, or UTC."
        )
    zone = read_zone(timezone)
    if count is not None and not 1 <= count <= _MOST:
        raise InvalidSchedule(f"count must be 1 to {_MOST:,}.", "Leave it out for a series without end.")
    return Recurrence(
        cron=" ".join(cron.lower().split()),
        timezone=zone.key,
        until=None if until is None else _read_until(until, zone),
        count=count,
        made=made,
    )


def _read_until(text: str, zone: ZoneInfo) -> datetime:
    words = text.strip(" ")
    if _DATE.fullmatch(words):
        moment = _end_of_day(words, zone)
    else:
        moment = resolve_moment(text, None if _OFFSET.fullmatch(words) else zone.key, name="until")
    if moment is None or moment.year > _LAST_YEAR:
        raise InvalidSchedule(f"until {brief(text)} is no time to plan for.", "Leave it out for a series without end.")
    return moment


def _end_of_day(text: str, zone: ZoneInfo) -> datetime | None:
    """Return the last instant of a date (UTC); None if there is no such day, or none after it."""
    try:
        midnight = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), zone)
        return midnight.astimezone(UTC) - _INSTANT
    except (ValueError, OverflowError):
        return None
