"""Computes the times of a cron expression in a time zone.

When the clocks change:

- a time that is skipped happens once, right after the gap; one that is repeated happens once, the first time;
- a schedule of every hour continues by elapsed time: it skips missing hours and includes both repeated ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from outspool.domain.cron_fields import CronFields

_RAREST_YEARS = 8
"""The next 29th of February is at most this far away."""

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_LONGEST_MONTH = timedelta(days=31)


def next_time(fields: CronFields, zone: ZoneInfo, *, after: datetime) -> datetime | None:
    """Return the first matching time (UTC) after `after`; None if there is none."""
    folds = (0, 1) if fields.every_hour else (0,)
    found = [time for fold in folds if (time := _next_time(fields, zone, fold, after)) is not None]
    return min(found, default=None)


def _next_time(fields: CronFields, zone: ZoneInfo, fold: int, after: datetime) -> datetime | None:
    """Return the next time, taking a repeated hour as its first (`fold` 0) or second (1) occurrence."""
    offsets = [moment.astimezone(zone).utcoffset() or timedelta() for moment in (after, after + _DAY)]
    start = (after.astimezone(UTC) + min(offsets)).replace(tzinfo=None)
    # Wall times grow with real time except in a repeated hour, so the first that is later is the earliest.
    for wall in _wall_times(fields, start):
        time = _instant(wall, zone, fold)
        if time is None and not fields.every_hour:
            time = _end_of_gap(wall, zone)
        if time is not None and time > after:
            return time
    return None


def _wall_times(fields: CronFields, start: datetime) -> Iterator[datetime]:
    """Yield matching wall times from `start` on, for `_RAREST_YEARS`."""
    day, end = start.date(), date(start.year + _RAREST_YEARS, 12, 31)
    while day <= end:
        if day.month not in fields.months:
            day = (day.replace(day=1) + _LONGEST_MONTH).replace(day=1)
            continue
        if fields.include(day):
            for hour in fields.hours:
                for minute in fields.minutes:
                    wall = datetime.combine(day, time(hour, minute))
                    if wall >= start:
                        yield wall
        day += _DAY


def _instant(wall: datetime, zone: ZoneInfo, fold: int) -> datetime | None:
    """Return the UTC instant of a wall time; None if the clocks skip it."""
    time = wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    return time if time.astimezone(zone).replace(tzinfo=None) == wall else None


def _end_of_gap(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the UTC instant at which the clocks skip over `wall`."""
    before, after = sorted(wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    offset = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == offset:
            after = middle
        else:
            before = middle
    return after
