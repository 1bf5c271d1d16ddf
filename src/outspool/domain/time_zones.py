"""Reads the name of a time zone: IANA's, Windows's, or an abbreviation that means one zone.

An offset (``UTC+2``) and an abbreviation of several places (``EST``, ``CST``) are refused with what to write instead:
``Etc/GMT+2`` is *behind* UTC, and nobody's clocks show EST in July.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from types import MappingProxyType
from zoneinfo import ZoneInfo, available_timezones

from outspool.domain.windows_zones import WINDOWS_ZONES
from outspool.errors import InvalidSchedule, brief

_MAX_NAME = 80
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
# Not places: the machine's own zone, and zones that count leap seconds.
_NOT_ZONES = re.compile(r"(?:localtime|posixrules|Factory)$|(?:posix|right)/", re.IGNORECASE)
_OFFSET = re.compile(
    r"(?:UTC|GMT|Z)? ?(?P<sign>[+\u2212-]) ?(?P<hours>\d{1,2})(?::?(?P<minutes>\d\d))?", re.ASCII | re.IGNORECASE
)
_DECORATION = re.compile(r"^\(utc[^()]*\) ?| \((?:us & canada|mexico)\)$")
"""What Windows shows around a name: ``(UTC-05:00) Eastern Time (US & Canada)``."""
_MAX_HOURS = 14

_ONE_ZONE: Mapping[str, str] = MappingProxyType(
    {
        "z": "UTC",
        "cest": "CET",
        "mez": "CET",
        "mesz": "CET",
        "eest": "EET",
        "west": "WET",
        "jst": "Asia/Tokyo",
        "kst": "Asia/Seoul",
        "hkt": "Asia/Hong_Kong",
        "sgt": "Asia/Singapore",
        "pkt": "Asia/Karachi",
        "msk": "Europe/Moscow",
        "sast": "Africa/Johannesburg",
        "awst": "Australia/Perth",
    }
)
"""Abbreviations of one zone, whose clocks do not depend on what the abbreviation says of summer."""

_PLACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("et", "est", "edt", "eastern time", "eastern daylight time"), ("America/New_York",)),
        **dict.fromkeys(
            ("ct", "cst", "cdt", "central time", "central daylight time"), ("America/Chicago", "Asia/Shanghai")
        ),
        **dict.fromkeys(
            ("mt", "mst", "mdt", "mountain time", "mountain daylight time"), ("America/Denver", "America/Phoenix")
        ),
        **dict.fromkeys(("pt", "pst", "pdt", "pacific time", "pacific daylight time"), ("America/Los_Angeles",)),
        **dict.fromkeys(("akst", "akdt"), ("America/Anchorage",)),
        **dict.fromkeys(("ast", "adt"), ("America/Halifax", "America/Puerto_Rico", "Asia/Riyadh")),
        **dict.fromkeys(("nst", "ndt"), ("America/St_Johns",)),
        **dict.fromkeys(("aet", "aest", "aedt"), ("Australia/Sydney", "Australia/Brisbane")),
        **dict.fromkeys(("act", "acst", "acdt"), ("Australia/Adelaide", "Australia/Darwin")),
        **dict.fromkeys(("nzst", "nzdt"), ("Pacific/Auckland",)),
        "bst": ("Europe/London", "Asia/Dhaka"),
        "ist": ("Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"),
        "gst": ("Asia/Dubai",),
        "brt": ("America/Sao_Paulo",),
        "art": ("America/Argentina/Buenos_Aires",),
        "wib": ("Asia/Jakarta",),
        "ict": ("Asia/Bangkok", "Asia/Ho_Chi_Minh"),
        "pht": ("Asia/Manila",),
        "eat": ("Africa/Nairobi",),
        "wat": ("Africa/Lagos",),
        "cat": ("Africa/Maputo",),
        "trt": ("Europe/Istanbul",),
    }
)
"""Abbreviations that several places share, or that are not in force all year: the caller must say the place."""


def read_zone(name: str, *, local: datetime | None = None) -> ZoneInfo:
    """Return the zone. Raises `InvalidSchedule`, saying what to write instead.

    `local` is the time that is read in the zone; None for a series, which has many.
    """
    text = name.strip(" \t\r\n\"'")
    folded = text.lower()
    folded = folded if folded in WINDOWS_ZONES else _DECORATION.sub("", folded)
    if len(name) > _MAX_NAME:
        raise _unknown_error(name, local)
    if folded in _PLACES:
        raise _ambiguous_error(name, _PLACES[folded], local)
    zone = _find_zone(text) or _find_zone(WINDOWS_ZONES.get(folded) or _ONE_ZONE.get(folded) or "")
    zone = zone or _find_zone(_zones_by_name().get(folded.replace(" ", "_"), ""))
    if zone is not None:
        return zone
    if (offset := _OFFSET.fullmatch(text)) is not None and int(offset["hours"]) <= _MAX_HOURS:
        if not int(offset["hours"] + (offset["minutes"] or "")):
            return ZoneInfo("UTC")
        raise _offset_error(name, offset, local)
    if place := _zones_by_city().get(folded.replace(" ", "_")):
        raise _refusal(name, f'Use one like "{place}".')
    raise _unknown_error(name, local)


def _find_zone(name: str) -> ZoneInfo | None:
    """Return the zone of exactly this name; None if there is none."""
    if _NAME.fullmatch(name) and not _NOT_ZONES.match(name):
        with suppress(KeyError, ValueError, OSError):  # OSError: "Europe" is a folder
            return ZoneInfo(name)
    return None


@cache
def _zones_by_name() -> Mapping[str, str]:
    """Return every zone by its lower-case name."""
    return {zone.lower(): zone for zone in available_timezones() if not _NOT_ZONES.match(zone)}


@cache
def _zones_by_city() -> Mapping[str, str]:
    """Return the zones of places by the lower-case name of the city alone."""
    zones = sorted(zone for zone in _zones_by_name().values() if "/" in zone and not zone.startswith("Etc/"))
    return {zone.lower().rpartition("/")[2]: zone for zone in zones}


def _ambiguous_error(name: str, places: tuple[str, ...], local: datetime | None) -> InvalidSchedule:
    names = " or ".join(f'"{place}"' for place in places)
    return _refusal(name, f"Name the place, like {names}{_or_offset(local)}.")


def _offset_error(name: str, offset: re.Match[str], local: datetime | None) -> InvalidSchedule:
    """Say how to write an offset: in the time itself, or for a series as the one zone that has it."""
    sign = "+" if offset["sign"] == "+" else "-"
    hours, minutes = int(offset["hours"]), offset["minutes"] or "00"
    written = f"{sign}{hours:02}:{minutes}"
    if local is not None:
        moment = local.isoformat() if local.tzinfo is not None else f"{local.isoformat()}{written}"
        return _refusal(name, f"Leave it out, and write {moment}.")
    reverse = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"
    is_zone = minutes == "00" and reverse.lower() in _zones_by_name()
    same = f', or "{reverse}", which is UTC{written}' if is_zone else ""
    return _refusal(name, f"Name the place whose clocks are meant, as Area/City{same}.")


def _refusal(name: str, hint: str) -> InvalidSchedule:
    return InvalidSchedule(f"timezone {brief(name)} is not the IANA name of a time zone.", hint)


def _unknown_error(name: str, local: datetime | None) -> InvalidSchedule:
    return _refusal(name, f"Name the place, as Area/City{_or_offset(local)}.")


def _or_offset(local: datetime | None) -> str:
    """Return the other way to say a single time; a series needs a zone."""
    return "" if local is None else ", or leave timezone out and end the time with its offset from UTC"
