"""Parses the five fields of a cron expression (crontab(5)) into sets of values.

Only unambiguous forms are accepted; forms that cron programs read differently are refused with the reason.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from outspool.errors import InvalidSchedule, brief

_ITEM = re.compile(
    r"(?:\*|(?P<first>\d{1,2}|[a-z]{3})(?:-(?P<last>\d{1,2}|[a-z]{3}))?)(?:/(?P<step>\d{1,2}))?", re.ASCII
)
_NTH = re.compile(r"(?P<day>[0-7]|[a-z]{3})#(?P<nth>[1-5])", re.ASCII)
_FIELDS = 5
_LONGEST = 200
_WEEK = 7
_HOURS = 24
_EXAMPLE = (
    'Write minute, hour, day of month, month, day of week: "0 9 * * mon-fri", "30 8 1 * *", '
    '"0 9 * * mon#1" (first Monday) or "0 9 L * *" (last day of the month).'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronFields:
    """The values of each field, ascending; `weekdays` count from Monday (0), like `date.weekday`.

    `nth` restricts the weekday to its nth occurrence in the month. `is_last_day` is ``L``, the last day of the month,
    in place of `days`.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    nth: int | None = None
    is_last_day: bool = False

    @property
    def every_hour(self) -> bool:
        """True if every hour is included: then the rule is an interval rather than a time of day."""
        return len(self.hours) == _HOURS

    def include(self, day: date) -> bool:
        """Tell whether the rule matches this day."""
        if day.month not in self.months or day.weekday() not in self.weekdays:
            return False
        if self.nth is not None and (day.day - 1) // _WEEK + 1 != self.nth:
            return False
        return day.day == monthrange(day.year, day.month)[1] if self.is_last_day else day.day in self.days


@lru_cache(maxsize=256)
def read_cron(cron: str) -> CronFields:
    """Parse five fields, in any case. Raises `InvalidSchedule`, naming the invalid field."""
    texts = cron.lower().split() if len(cron) <= _LONGEST else []
    if len(texts) != _FIELDS:
        found = f"has {len(texts)} of five fields" if texts else "is not a cron expression"
        raise InvalidSchedule(f"recurrence {brief(cron)} {found}; seconds, years and @words are not known.", _EXAMPLE)
    minute, hour, day, month, weekday = texts
    if day != "*" and weekday != "*":
        raise InvalidSchedule(
            f"recurrence {brief(cron)} names days of the month and of the week; programs read that in two ways.",
            'Leave one of them *. The first Monday of each month is "0 9 * * mon#1".',
        )
    nth = _NTH.fullmatch(weekday)
    return CronFields(
        minutes=_sorted(_MINUTE.values(minute)),
        hours=_sorted(_HOUR.values(hour)),
        months=_sorted(_MONTH.values(month)),
        days=_sorted(_DAY.values("*" if day == "l" else day)),
        weekdays=_sorted(
            {(number - 1) % _WEEK for number in ([_WEEKDAY.number(nth["day"])] if nth else _WEEKDAY.values(weekday))}
        ),
        nth=int(nth["nth"]) if nth else None,
        is_last_day=day == "l",
    )


def _sorted(values: set[int]) -> tuple[int, ...]:
    return tuple(sorted(values))


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    lowest: int
    highest: int
    words: tuple[str, ...] = ()
    note: str = ""

    def values(self, text: str) -> set[int]:
        """Return every value of a field. Raises `InvalidSchedule`."""
        return set().union(*map(self._range, text.split(",")))

    def _range(self, item: str) -> range:
        found = _ITEM.fullmatch(item)
        if not found:
            raise self._invalid_error(item)
        first = self.number(found["first"]) if found["first"] else self.lowest
        last = first if found["first"] and not found["step"] else self.highest
        if found["last"]:
            last = self.number(found["last"])
            if self is _WEEKDAY and last == 0 < first:
                last = _WEEK  # fri-sun
        if not self.lowest <= first <= last <= self.highest:
            raise self._invalid_error(item)
        if found["step"] and not 1 <= int(found["step"]) <= last - first:
            raise self._invalid_error(item)
        return range(first, last + 1, int(found["step"] or 1))

    def number(self, text: str) -> int:
        """Return the value of a number or a name. Raises `InvalidSchedule`."""
        if text in self.words:
            return self.words.index(text)
        if not text.isdigit():
            raise self._invalid_error(text)
        return int(text)

    def _invalid_error(self, item: str) -> InvalidSchedule:
        return InvalidSchedule(
            f"recurrence: {brief(item)} is no {self.name} ({self.lowest} to {self.highest}{self.note}, ascending).",
            _EXAMPLE,
        )


_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of the month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS, " or jan to dec")
_WEEKDAY = _Field("day of the week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"), " or sun to sat")
