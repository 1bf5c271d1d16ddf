"""Times as a terminal shows and takes them: on this machine's clocks, and with their zone."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

from outspool.errors import InvalidSchedule, brief

_UTC = re.compile(
    r"(?:(?P<there>(?P<clock>\d{4}-\d\d-\d\d \d\d:\d\d)(?::\d\d)?[+-]\d\d:\d\d(?: \w[\w/+-]+)?) \()?"
    r"\b(?P<utc>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\b(?(there)\))"
)
"""A time in UTC, perhaps in brackets behind the same time at another place."""
_MOMENT = re.compile(
    r"\s*\d{4}-\d\d-\d\d[Tt ]\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)? ?(?P<offset>[Zz]|[+-]\d\d(?::?\d\d)?)?\s*", re.ASCII
)
_LONGEST_NAME = 5
"""Windows calls a zone "W. Europe Standard Time", which is too long for a column."""


def format_minute(moment: datetime) -> str:
    """Format a time for a list: ``2026-12-01 09:00 CET``."""
    return _format(moment, "minutes")


def format_local(moment: datetime) -> str:
    """Format a time in seconds: ``2026-12-01 09:00:00 CET``."""
    return _format(moment, "seconds")


def format_millisecond(moment: datetime) -> str:
    """Format a time in milliseconds: ``2026-12-01 09:00:00.250 CET``."""
    return _format(moment, "milliseconds")


def localize(text: str) -> str:
    """Return `text` with each UTC time on this machine's clocks; a time at another place stays beside it."""
    return _UTC.sub(_localize, text)


def _localize(match: re.Match[str]) -> str:
    local = format_local(datetime.fromisoformat(match["utc"]))
    is_elsewhere = match["there"] is not None and not local.startswith(match["clock"])
    return f"{match['there']} ({local})" if is_elsewhere else local


def is_local(text: str) -> bool:
    """Tell whether the date and time `text` has no offset, so that it needs a zone to mean anything.

    Raises `InvalidSchedule` if it is no date and time.
    """
    moment = _MOMENT.fullmatch(text)
    if moment is None:
        raise InvalidSchedule(
            f"--at {brief(text)} is no date and time.",
            'Write it like "2026-12-01 09:00", on this machine\'s clocks; or use --delay, like PT2H.',
        )
    return moment["offset"] is None


def read_machine_zone() -> str | None:
    """Return the IANA name of this machine's zone; None if it has none, as with ``TZ=CET-1``."""
    import tzlocal

    with suppress(Exception):  # an odd TZ or /etc/localtime raises many kinds
        zone = ZoneInfo(tzlocal.get_localzone_name())
        if all(_has_machine_offset(zone, month) for month in (1, 7)):
            return str(zone.key)
    return None


def _has_machine_offset(zone: ZoneInfo, month: int) -> bool:
    """Tell whether the machine's clocks show the time of `zone` in a month of this year."""
    local = datetime.now().astimezone().replace(month=month, day=1).replace(tzinfo=None)
    return local.astimezone().utcoffset() == local.replace(tzinfo=zone).utcoffset()


def pad_hour(text: str) -> str:
    """Return a date and time with two digits for the hour: ``2026-12-01 9:00`` means nine."""
    return re.sub(r"(?<=[Tt ])(?=\d:)", "0", text, count=1)


def add_offset(text: str) -> str:
    """Return a local time with the offset that this machine's clocks have then; one that is on no calendar as it is."""
    try:
        return datetime.fromisoformat(text.strip()).astimezone().isoformat()
    except (ValueError, OverflowError):
        return text


def format_zone(local: datetime) -> str:
    """Return the short name of a local time's zone, or its offset where the name is long, as on Windows."""
    name = local.tzname() or ""
    return name if 0 < len(name) <= _LONGEST_NAME else f"{local:%z}"


def _format(moment: datetime, timespec: str) -> str:
    local = moment.astimezone()
    return f"{local.replace(tzinfo=None).isoformat(sep=' ', timespec=timespec)} {format_zone(local)}"
