"""Times in words: UTC by RFC 3339, and beside it the local time that a person compares with the clock."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo


def format_utc(moment: datetime) -> str:
    """Format a UTC time by RFC 3339, in seconds, or milliseconds if it has a fraction."""
    spec = "milliseconds" if moment.microsecond else "seconds"
    return moment.isoformat(timespec=spec).replace("+00:00", "Z")


def format_time(moment: datetime, zone: str | tzinfo | None) -> str:
    """Format a UTC time in `zone` and in UTC: ``2026-12-01 09:00+01:00 Europe/Berlin (2026-12-01T08:00:00Z)``.

    `zone` is an IANA name, an offset like ``+02:00``, or a zone; UTC alone is shown where it is UTC or unknown.
    """
    utc = format_utc(moment)
    name = zone if isinstance(zone, str) else ""
    local = moment.astimezone(_read_zone(zone) if isinstance(zone, str) else zone)
    if not zone or (local.utcoffset() == timedelta() and "/" not in name):
        return utc
    clock = f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"
    place = f" {name}" if "/" in name else ""
    return f"{clock}{local.isoformat()[-6:]}{place} ({utc})"


def _read_zone(name: str) -> tzinfo | None:
    """Return the zone; None, the machine's own, for a name that is none."""
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name)
    with suppress(ValueError):
        return datetime.strptime(name, "%z").tzinfo
    return None
