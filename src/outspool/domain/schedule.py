"""Parses the time an email is due: a moment (ISO 8601, IANA time zones) or a delay.

A schedule guessed wrong sends mail at three in the morning, so nothing is guessed: no natural language, no local time
without a zone, no hour that a clock change skips or repeats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from outspool.domain.time_zones import read_zone
from outspool.errors import InvalidSchedule, brief

HORIZON = timedelta(days=366)
"""How far ahead an email may be scheduled."""

GRACE = timedelta(seconds=60)
"""A moment up to this far in the past means "now", because a call takes time to arrive."""

_MAX_OFFSET = timedelta(hours=14)  # Kiritimati; nowhere on Earth is further
_MOMENT = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)"
    r" ?(?P<offset>[Zz]|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DELAY = re.compile(
    r"P(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9}(?:[.,]\d{1,9})?)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_CALENDAR_DELAY = re.compile(r"P\d{1,9}[YM]", re.ASCII | re.IGNORECASE)
_MAX_TEXT = 64
_YEARS_IN_RANGE = 2
_EITHER_WAY = (
    'Give the offset of the place that is meant, like "2026-11-25T09:00:00+01:00", '
    'or local time and the `timezone` of that place, like "Europe/Berlin".'
)
_DELAY_EXAMPLE = 'Write it like "PT2H" (two hours), "PT90S" or "P1DT12H"; weeks and days may be used too.'


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A time as the caller gives it; with a `recurrence` (a cron expression) several: see `domain.recurrence`."""

    scheduled_at: str | None = None
    timezone: str | None = None
    delay: str | None = None
    recurrence: str | None = None
    until: str | None = None
    count: int | None = None

    @property
    def has_time(self) -> bool:
        """True if a time is given; a zone alone is none."""
        return self.scheduled_at is not None or self.delay is not None

    @property
    def is_now(self) -> bool:
        """True for the word "now", which moves a waiting email to now."""
        return self.scheduled_at is not None and self.scheduled_at.strip().lower() == "now"

    @property
    def zone(self) -> str | None:
        """The zone of `scheduled_at`, as `Email.timezone` keeps it; None if the time is in UTC or a delay.

        Raises `InvalidSchedule`.
        """
        if self.scheduled_at is None:
            return None
        local, zone = _read(self.scheduled_at, self.timezone, "scheduled_at")
        if zone is not None:
            return zone.key
        return local.isoformat()[-6:] if local.utcoffset() else None

    def moment(self, *, now: datetime) -> datetime:
        """Return the instant. Raises `InvalidSchedule`."""
        return due_time(scheduled_at=self.scheduled_at, timezone=self.timezone, delay=self.delay, now=now)


def due_time(*, scheduled_at: str | None, timezone: str | None, delay: str | None, now: datetime) -> datetime:
    """Return when the email is due (UTC), from exactly one of `scheduled_at` (with `timezone`) and `delay`.

    Raises `InvalidSchedule` otherwise, and as `parse_moment` and `parse_delay` do. `now` is aware, in UTC.
    """
    if scheduled_at is not None and delay is not None:
        raise InvalidSchedule("scheduled_at and delay are both given.", "Give one of them.")
    if scheduled_at is not None:
        return parse_moment(scheduled_at, timezone, now=now)
    if timezone is not None:
        raise InvalidSchedule("timezone is given without scheduled_at.", "Leave it out, or give scheduled_at.")
    if delay is None:
        raise InvalidSchedule("Neither scheduled_at nor delay is given.", f'{_EITHER_WAY} Or a delay, like "PT2H".')
    return parse_delay(delay, now=now)


def parse_moment(scheduled_at: str, timezone: str | None, *, now: datetime) -> datetime:
    """Return the moment as UTC: `resolve_moment` checked against `now`; up to `GRACE` past, it is `now`.

    Raises `InvalidSchedule` if it is invalid, past, or beyond `HORIZON`.
    """
    local, zone = _read(scheduled_at, timezone, "scheduled_at")
    if abs(local.year - now.year) > _YEARS_IN_RANGE:  # the years 1 and 9999 overflow when moved to UTC
        return _check_range(local.replace(tzinfo=UTC), now)
    return max(_check_range(_instant(local, zone, f"scheduled_at {brief(scheduled_at)}"), now), now.astimezone(UTC))


def resolve_moment(text: str, timezone: str | None, *, name: str = "scheduled_at") -> datetime | None:
    """Return the moment as UTC, whatever the time is now; None if it is outside the calendar.

    The same text always gives the same moment, so that a repeated call is recognised even if it comes late. Raises
    `InvalidSchedule`, naming the argument `name`, if the text is invalid.
    """
    local, zone = _read(text, timezone, name)
    try:
        return _instant(local, zone, f"{name} {brief(text)}")
    except OverflowError:
        return None


def parse_delay(delay: str, *, now: datetime) -> datetime:
    """Return `now` plus an ISO 8601 duration (weeks, days, hours, minutes, seconds) as UTC.

    Raises `InvalidSchedule` if it is invalid, zero, negative, or beyond `HORIZON`.
    """
    text = delay.strip(" ")
    found = _DELAY.fullmatch(text) if len(text) <= _MAX_TEXT else None
    amounts = {unit: amount for unit, amount in found.groupdict().items() if amount} if found else {}
    if not amounts or text[-1] in "tT":
        raise _invalid_delay_error(text)
    return now.astimezone(UTC) + _check_span(amounts, delay)


def describe_wait(now: datetime, then: datetime) -> str:
    """Return the time from `now` to `then` in two units: "now", "in 45 s", "in 17 h 3 min", "in 3 days 2 h"."""
    seconds = round((then - now).total_seconds())
    return f"in {_span(seconds)}" if seconds > 0 else "now"


def _invalid_delay_error(text: str) -> InvalidSchedule:
    if text.startswith("-"):
        return InvalidSchedule(f"delay {brief(text)} is negative.", "An email cannot leave before now.")
    if _CALENDAR_DELAY.match(text):
        return InvalidSchedule(
            f"delay {brief(text)} counts years or months, whose length varies.",
            'Use days, like "P30D"; minutes stand behind a T, like "PT30M".',
        )
    return InvalidSchedule(f"delay {brief(text)} is not an ISO 8601 duration.", _DELAY_EXAMPLE)


def _check_span(amounts: Mapping[str, str], delay: str) -> timedelta:
    try:
        span = timedelta(**{unit: float(amount.replace(",", ".")) for unit, amount in amounts.items()})
    except OverflowError:
        raise _too_far_error(f"delay {brief(delay)}") from None
    if not span:
        raise InvalidSchedule(f"delay {brief(delay)} is zero.", "Use send_email to send now.")
    if span > HORIZON:
        raise _too_far_error(f"delay {brief(delay)}")
    return span


def _read(text: str, timezone: str | None, name: str) -> tuple[datetime, ZoneInfo | None]:
    """Return the date and time, naive or with offset, and the zone if given."""
    local = _read_moment(text, name)
    if timezone is None:
        if local.tzinfo is None:
            raise InvalidSchedule(f"{name} {brief(text)} does not say in which time zone.", _EITHER_WAY)
        return local, None
    return local, read_zone(timezone, local=local)


def _read_moment(text: str, name: str) -> datetime:
    stripped = text.strip(" ") if len(text) <= _MAX_TEXT else ""
    if stripped.lower() == "now":
        raise InvalidSchedule(
            f"{name} cannot be {brief(text)} here.",
            'send_email sends at once; an email that waits is moved to now by update_email with scheduled_at "now".',
        )
    found = _MOMENT.fullmatch(stripped)
    if not found:
        missing = "has no time of day" if _DATE.fullmatch(stripped) else "is not an ISO 8601 date and time"
        raise InvalidSchedule(f"{name} {brief(text)} {missing}.", _EITHER_WAY)
    try:
        moment = datetime.fromisoformat(f"{found['date']}T{found['time']}{(found['offset'] or '').upper()}")
    except ValueError:
        raise InvalidSchedule(f"{name} {brief(text)} is on no calendar or clock.", _EITHER_WAY) from None
    if abs(moment.utcoffset() or timedelta()) > _MAX_OFFSET:
        raise InvalidSchedule(f"{name} {brief(text)} has an offset that no place on Earth has.", _EITHER_WAY)
    return moment


def _instant(local: datetime, zone: ZoneInfo | None, text: str) -> datetime:
    """Return the one UTC instant of a local time; `InvalidSchedule` if there is none or more than one."""
    if zone is None:
        return local.astimezone(UTC)
    if local.tzinfo is not None:
        return _check_agreement(local, zone, text)
    first, second = sorted(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return first
    neighbours = f"{first.astimezone(zone).isoformat()} or {second.astimezone(zone).isoformat()}"
    if first.astimezone(zone).replace(tzinfo=None) != local:
        raise InvalidSchedule(f"{text} does not exist in {zone.key}: the clocks skip it.", f"Use {neighbours}.")
    raise InvalidSchedule(
        f"{text} happens twice in {zone.key}: the clocks go back.",
        f"Say which one by its offset: {neighbours}.",
    )


def _check_agreement(moment: datetime, zone: ZoneInfo, text: str) -> datetime:
    """Accept an offset together with a zone only if they agree; the offset settles a repeated hour."""
    other = moment.astimezone(zone)
    if other.utcoffset() != moment.utcoffset():
        raise InvalidSchedule(
            f"{text} and timezone {zone.key} disagree: it is {other.isoformat()} there.",
            "Leave out the offset or the timezone, whichever was not meant.",
        )
    return other.astimezone(UTC)


def _check_range(moment: datetime, now: datetime) -> datetime:
    ago = now - moment
    if ago > GRACE:
        span, clock = _span(round(ago.total_seconds())), now.astimezone(UTC)
        raise InvalidSchedule(
            f"scheduled_at was {span} ago: now is {clock:%Y-%m-%dT%H:%M:%SZ}.",
            "Give a time to come; if it was meant for now, ask the person.",
        )
    if -ago > HORIZON:
        raise _too_far_error("scheduled_at")
    return moment


def _too_far_error(text: str) -> InvalidSchedule:
    return InvalidSchedule(f"{text} is more than {HORIZON.days} days ahead.", "Choose an earlier time.")


def _span(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    amounts = ((days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    largest = next((i for i, (amount, _) in enumerate(amounts) if amount), 3)
    return " ".join(f"{amount} {unit}" for amount, unit in amounts[largest : largest + 2] if amount) or "0 s"
