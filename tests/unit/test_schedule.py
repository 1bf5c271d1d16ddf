"""A moment or a delay becomes one UTC time, or an error that says how to write it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.domain.schedule import describe_wait, due_time, parse_delay, parse_moment, resolve_moment
from outspool.domain.time_zones import read_zone
from outspool.domain.windows_zones import WINDOWS_ZONES
from outspool.errors import InvalidSchedule

NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
NEW_YEAR_2025 = datetime(2025, 1, 1, tzinfo=UTC)  # clock changes are looked up in the past, where no law moves them


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("scheduled_at", "timezone", "due"),
    [
        ("2026-11-25T09:00:00+01:00", None, "2026-11-25T08:00"),
        ("2026-11-25T09:00:00Z", None, "2026-11-25T09:00"),
        ("2026-11-25t09:00:00z", None, "2026-11-25T09:00"),
        ("2026-11-25 09:00 +0100", None, "2026-11-25T08:00"),
        ("2026-11-25T09:00+01", None, "2026-11-25T08:00"),
        ("2026-11-25T09:00:00-00:00", None, "2026-11-25T09:00"),
        ("2026-11-25T09:00:00.250Z", None, "2026-11-25T09:00:00.250"),
        ("2026-11-25T09:00:00,123456789Z", None, "2026-11-25T09:00:00.123456"),
        (" 2026-11-25T23:59:59+14:00 ", None, "2026-11-25T09:59:59"),
        ("2026-11-25T09:00:00", "Europe/Berlin", "2026-11-25T08:00"),
        ("2027-07-01T09:00", "Europe/Berlin", "2027-07-01T07:00"),
        ("2026-11-25T09:00", "UTC", "2026-11-25T09:00"),
        ("2026-11-25T09:00", "America/Argentina/Buenos_Aires", "2026-11-25T12:00"),
        ("2027-07-01T09:00+02:00", "Europe/Berlin", "2027-07-01T07:00"),
        ("2027-11-25T16:00:00Z", None, "2027-11-25T16:00"),
    ],
)
def test_a_moment_is_read_as_utc(scheduled_at: str, timezone: str | None, due: str) -> None:
    moment = parse_moment(scheduled_at, timezone, now=NOW)
    assert moment == _utc(due)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("scheduled_at", "zone", "neighbours"),
    [
        ("2025-03-30T02:30", "Europe/Berlin", ("2025-03-30T01:30:00+01:00", "2025-03-30T03:30:00+02:00")),
        ("2025-03-30T02:00", "Europe/Berlin", ("2025-03-30T01:00:00+01:00", "2025-03-30T03:00:00+02:00")),
        ("2025-03-09T02:30", "America/New_York", ("2025-03-09T01:30:00-05:00", "2025-03-09T03:30:00-04:00")),
        ("2025-10-05T02:15", "Australia/Lord_Howe", ("2025-10-05T01:45:00+10:30", "2025-10-05T02:45:00+11:00")),
        ("2025-04-06T02:30", "Africa/Casablanca", ("2025-04-06T01:30:00+00:00", "2025-04-06T03:30:00+01:00")),
    ],
)
def test_a_local_time_that_the_clocks_skip_is_refused_with_its_neighbours(
    scheduled_at: str, zone: str, neighbours: tuple[str, str]
) -> None:
    with pytest.raises(InvalidSchedule, match=f"does not exist in {zone}") as refusal:
        parse_moment(scheduled_at, zone, now=NEW_YEAR_2025)
    for neighbour in neighbours:
        assert neighbour in refusal.value.hint
        assert parse_moment(neighbour, zone, now=NEW_YEAR_2025) == datetime.fromisoformat(neighbour)


@pytest.mark.parametrize(
    ("scheduled_at", "zone", "choices"),
    [
        ("2025-10-26T02:30", "Europe/Berlin", ("2025-10-26T02:30:00+02:00", "2025-10-26T02:30:00+01:00")),
        ("2025-10-26T02:00", "Europe/Berlin", ("2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00")),
        ("2025-11-02T01:59:59", "America/New_York", ("2025-11-02T01:59:59-04:00", "2025-11-02T01:59:59-05:00")),
        ("2025-04-06T01:45", "Australia/Lord_Howe", ("2025-04-06T01:45:00+11:00", "2025-04-06T01:45:00+10:30")),
        ("2025-02-23T02:30", "Africa/Casablanca", ("2025-02-23T02:30:00+01:00", "2025-02-23T02:30:00+00:00")),
    ],
)
def test_a_local_time_that_happens_twice_is_refused_until_an_offset_settles_it(
    scheduled_at: str, zone: str, choices: tuple[str, str]
) -> None:
    with pytest.raises(InvalidSchedule, match=f"happens twice in {zone}") as refusal:
        parse_moment(scheduled_at, zone, now=NEW_YEAR_2025)
    first, second = (parse_moment(choice, zone, now=NEW_YEAR_2025) for choice in choices)
    assert first < second
    for choice in choices:
        assert choice in refusal.value.hint


@pytest.mark.parametrize(
    ("scheduled_at", "zone"),
    [
        ("2025-03-30T01:59:59", "Europe/Berlin"),
        ("2025-03-30T03:00:00", "Europe/Berlin"),
        ("2025-10-26T01:59:59", "Europe/Berlin"),
        ("2025-10-26T03:00:00", "Europe/Berlin"),
        ("2025-10-05T01:59:59", "Australia/Lord_Howe"),
        ("2025-10-05T02:30:00", "Australia/Lord_Howe"),
        ("2025-04-06T01:29:59", "Australia/Lord_Howe"),
        ("2025-04-06T02:00:00", "Australia/Lord_Howe"),
    ],
)
def test_the_seconds_around_a_clock_change_are_ordinary(scheduled_at: str, zone: str) -> None:
    moment = parse_moment(scheduled_at, zone, now=NEW_YEAR_2025)
    assert moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == datetime.fromisoformat(scheduled_at)


@given(
    local=st.datetimes(datetime(2026, 11, 26), datetime(2027, 11, 24)),  # noqa: DTZ001  (local on purpose)
    zone=st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu"]
    ),
)
def test_an_accepted_local_time_is_that_time_there_and_no_other(local: datetime, zone: str) -> None:
    try:
        moment = parse_moment(local.isoformat(), zone, now=NOW)
    except InvalidSchedule as refusal:
        assert "the clocks" in refusal.message
        return
    assert moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local
    assert (
        local.replace(tzinfo=ZoneInfo(zone), fold=0).utcoffset()
        == local.replace(tzinfo=ZoneInfo(zone), fold=1).utcoffset()
    )


@pytest.mark.parametrize("scheduled_at", ["2026-11-25T09:00", "2026-11-25 09:00:00"])
def test_a_time_without_its_zone_is_refused_and_both_ways_are_shown(scheduled_at: str) -> None:
    with pytest.raises(InvalidSchedule, match="does not say in which time zone") as refusal:
        parse_moment(scheduled_at, None, now=NOW)
    assert '"2026-11-25T09:00:00+01:00"' in refusal.value.hint
    assert '"Europe/Berlin"' in refusal.value.hint


@pytest.mark.parametrize(
    ("scheduled_at", "why"),
    [
        ("2026-11-25", "has no time of day"),
        ("1796000000", "is not an ISO 8601"),
        ("1796000000.5", "is not an ISO 8601"),
        ("tomorrow", "is not an ISO 8601"),
        ("tomorrow 9am", "is not an ISO 8601"),
        ("in 2 hours", "is not an ISO 8601"),
        ("09:00", "is not an ISO 8601"),
        ("25.11.2026 09:00", "is not an ISO 8601"),
        ("11/25/2026 09:00", "is not an ISO 8601"),
        ("2026-W48-3T09:00Z", "is not an ISO 8601"),
        ("20261125T090000Z", "is not an ISO 8601"),
        ("2026-11-25T09Z", "is not an ISO 8601"),
        ("2026-11-25x09:00Z", "is not an ISO 8601"),
        ("2026-11-25T09:00Z[Europe/Berlin]", "is not an ISO 8601"),
        ("2026-11-25T09:00 CET", "is not an ISO 8601"),
        ("2026-11-25T09:00Z\n", "is not an ISO 8601"),
        ("٢٠٢٦-11-25T09:00Z", "is not an ISO 8601"),
        ("", "is not an ISO 8601"),
        ("9" * 10_000_000, "is not an ISO 8601"),
        ("10000-01-01T00:00Z", "is not an ISO 8601"),
        ("0000-01-01T00:00Z", "on no calendar"),
        ("2026-13-01T00:00Z", "on no calendar"),
        ("2026-02-29T00:00Z", "on no calendar"),
        ("2026-12-01T24:00Z", "on no calendar"),
        ("2026-12-01T25:00Z", "on no calendar"),
        ("2026-12-31T23:59:60Z", "on no calendar"),
        ("2026-12-01T10:00+99:00", "on no calendar"),
        ("2026-12-01T10:00+23:00", "no place on Earth"),
    ],
)
def test_what_is_no_moment_is_refused_with_an_example(scheduled_at: str, why: str) -> None:
    with pytest.raises(InvalidSchedule, match=why) as refusal:
        parse_moment(scheduled_at, None, now=NOW)
    assert "2026-11-25T09:00:00+01:00" in refusal.value.hint
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("seconds", [0, 1, 59, 60])
def test_a_moment_within_the_last_minute_is_now(seconds: int) -> None:
    assert parse_moment((NOW - timedelta(seconds=seconds)).isoformat(), None, now=NOW) == NOW


@pytest.mark.parametrize(
    ("scheduled_at", "ago"),
    [
        ("2026-11-24T15:58:59Z", "1 min 1 s"),
        ("2026-11-24T12:57:00Z", "3 h 3 min"),
        ("2025-11-24T16:00:00Z", "365 days"),
        ("1970-01-01T00:00:00Z", "20781 days 16 h"),
        ("0001-01-01T00:00:00+14:00", "739943 days 16 h"),
    ],
)
def test_a_past_moment_is_refused_with_how_long_ago_and_the_servers_time(scheduled_at: str, ago: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"was {ago} ago: now is 2026-11-24T16:00:00Z"):
        parse_moment(scheduled_at, None, now=NOW)


@pytest.mark.parametrize(
    ("scheduled_at", "timezone"),
    [
        ("2027-11-25T16:00:01Z", None),
        ("2062-11-25T09:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("9999-12-31T23:59:59.999999", "America/New_York"),
    ],
)
def test_a_moment_too_far_ahead_is_refused_with_the_limit(scheduled_at: str, timezone: str | None) -> None:
    with pytest.raises(InvalidSchedule, match="more than 366 days ahead"):
        parse_moment(scheduled_at, timezone, now=NOW)


NO_ZONES = (
    *("", "Europe", "../../../etc/passwd", "/etc/localtime", "localtime", "right/Europe/Berlin", "posix/Europe/Paris"),
    *("Europe/Berlin\x00", "\ud800", "a" * 10_000_000, "UTC+25", "Mars/Olympus"),
)


@pytest.mark.parametrize(
    ("timezone", "advice"),
    [
        ("Berlin", "Europe/Berlin"),
        ("new york", "America/New_York"),
        *(("PST", "America/Los_Angeles"), ("EST", "America/New_York"), ("Eastern Daylight Time", "America/New_York")),
        *(("CST", "Asia/Shanghai"), ("IST", "Asia/Kolkata"), ("MST", "America/Phoenix"), ("BST", "Europe/London")),
        *(("GMT+2", "write 2026-12-01T10:00:00+02:00."), ("UTC-5", "write 2026-12-01T10:00:00-05:00.")),
        *(("+02:00", "write 2026-12-01T10:00:00+02:00."), ("UTC +5:30", "write 2026-12-01T10:00:00+05:30.")),
        *((unknown, "Name the place, as Area/City, or leave timezone out") for unknown in NO_ZONES),
    ],
)
def test_an_unknown_time_zone_is_refused_with_what_to_write(timezone: str, advice: str) -> None:
    with pytest.raises(InvalidSchedule, match="not the IANA name of a time zone") as refusal:
        parse_moment("2026-12-01T10:00", timezone, now=NOW)
    assert advice in refusal.value.hint
    assert "Etc/" not in refusal.value.hint
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("timezone", "utc"),
    [
        ("europe/berlin", "07:00"),
        ("America/new york", "13:00"),
        ("Europe/Berlin\n", "07:00"),
        ("Eastern Standard Time", "13:00"),
        ("W. Europe Standard Time", "07:00"),
        ("pacific standard time", "16:00"),
        ("UTC-11", "20:00"),
        ("CET", "07:00"),
        ("CEST", "07:00"),
        ("JST", "00:00"),
        ("utc", "09:00"),
        ("Z", "09:00"),
        ("UTC+0", "09:00"),
    ],
)
def test_a_zone_is_taken_by_the_names_that_leave_no_doubt(timezone: str, utc: str) -> None:
    moment = parse_moment("2027-07-01T09:00", timezone, now=datetime(2027, 6, 30, 23, tzinfo=UTC))
    assert f"{moment:%H:%M}" == utc


def test_every_windows_zone_is_one_that_this_machine_knows() -> None:
    assert {read_zone(name).key for name in WINDOWS_ZONES} == set(WINDOWS_ZONES.values())


@pytest.mark.parametrize(("name", "same"), [("GMT+2", "Etc/GMT-2"), ("UTC-5", "Etc/GMT+5")])
def test_a_series_is_given_the_zone_that_has_the_offset_and_not_its_opposite(name: str, same: str) -> None:
    with pytest.raises(InvalidSchedule) as refusal:
        read_zone(name)
    assert f'"{same}", which is UTC' in refusal.value.hint


@pytest.mark.parametrize("scheduled_at", ["2027-07-01T09:00Z", "2027-07-01T09:00+01:00"])
def test_an_offset_that_contradicts_the_time_zone_is_refused(scheduled_at: str) -> None:
    with pytest.raises(InvalidSchedule, match="timezone Europe/Berlin disagree") as refusal:
        parse_moment(scheduled_at, "Europe/Berlin", now=NOW)
    assert "Leave out the offset or the timezone" in refusal.value.hint


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        ("PT2H", 7200),
        ("PT90S", 90),
        ("PT0.5S", 0.5),
        ("PT0,25S", 0.25),
        ("P1DT12H", 129_600),
        ("P1W2DT3H4M5S", 788_645),
        ("pt5m", 300),
        (" PT5M ", 300),
        ("P366D", 366 * 86_400),
    ],
)
def test_a_delay_counts_from_now(delay: str, seconds: float) -> None:
    assert parse_delay(delay, now=NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("delay", "why"),
    [
        ("PT0S", "is zero"),
        ("P0D", "is zero"),
        ("PT0.0000001S", "is zero"),
        ("-PT2H", "is negative"),
        ("P-1D", "is not an ISO 8601 duration"),
        ("P1M", "years or months"),
        ("P1Y2M3D", "years or months"),
        ("P", "is not an ISO 8601 duration"),
        ("PT", "is not an ISO 8601 duration"),
        ("P1DT", "is not an ISO 8601 duration"),
        ("PT1.5H", "is not an ISO 8601 duration"),
        ("2h", "is not an ISO 8601 duration"),
        ("7200", "is not an ISO 8601 duration"),
        ("PT2H\n", "is not an ISO 8601 duration"),
        ("PT٢H", "is not an ISO 8601 duration"),
        ("PT1M1M", "is not an ISO 8601 duration"),
        ("PT1S1H", "is not an ISO 8601 duration"),
        ("", "is not an ISO 8601 duration"),
        ("P" + "9" * 10_000_000 + "D", "is not an ISO 8601 duration"),
        ("PT1e9S", "is not an ISO 8601 duration"),
        ("P366DT1S", "more than 366 days ahead"),
        ("P999999999W", "more than 366 days ahead"),
        ("P999999999WT999999999H", "more than 366 days ahead"),
    ],
)
def test_what_is_no_delay_is_refused(delay: str, why: str) -> None:
    with pytest.raises(InvalidSchedule, match=why) as refusal:
        parse_delay(delay, now=NOW)
    assert refusal.value.hint
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300


@given(st.text(st.sampled_from("PTWDHMSY0123456789.,+-:Z/ eE"), max_size=30) | st.text(max_size=30))
def test_no_text_does_anything_but_pass_or_be_refused(text: str) -> None:
    readings: list[Callable[[], datetime]] = [
        lambda: parse_delay(text, now=NOW),
        lambda: parse_moment(text, None, now=NOW),
        lambda: parse_moment(text, "Europe/Berlin", now=NOW),
        lambda: parse_moment("2026-12-01T10:00", text, now=NOW),
    ]
    for read in readings:
        try:
            due = read()
        except InvalidSchedule as refusal:
            assert str(refusal).isprintable()
        else:
            assert NOW <= due <= NOW + timedelta(days=366)


def test_exactly_one_of_moment_and_delay_is_wanted() -> None:
    assert due_time(scheduled_at=None, timezone=None, delay="PT1H", now=NOW) == NOW + timedelta(hours=1)
    assert due_time(scheduled_at="2026-11-25T09:00", timezone="UTC", delay=None, now=NOW) == _utc("2026-11-25T09:00")
    for scheduled_at, timezone, delay, why in (
        ("2026-11-25T09:00Z", None, "PT1H", "both given"),
        (None, None, None, "Neither scheduled_at nor delay"),
        (None, "Europe/Berlin", None, "timezone is given without scheduled_at"),
        (None, "Europe/Berlin", "PT1H", "timezone is given without scheduled_at"),
    ):
        with pytest.raises(InvalidSchedule, match=why):
            due_time(scheduled_at=scheduled_at, timezone=timezone, delay=delay, now=NOW)


def test_the_moment_asked_for_is_the_same_however_it_is_written_and_whenever() -> None:
    assert resolve_moment("2020-07-01T09:00", "Europe/Berlin") == resolve_moment("2020-07-01T07:00Z", None)
    assert resolve_moment("9999-12-31T23:59:59-14:00", None) is None
    with pytest.raises(InvalidSchedule):
        resolve_moment("2020-07-01T09:00", None)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "now"),
        (0, "now"),
        (0.4, "now"),
        (0.6, "in 1 s"),
        (45, "in 45 s"),
        (59.7, "in 1 min"),
        (125, "in 2 min 5 s"),
        (3600, "in 1 h"),
        (3605, "in 1 h"),
        (17 * 3600 + 180, "in 17 h 3 min"),
        (86_400, "in 1 day"),
        (3 * 86_400 + 7200 + 59, "in 3 days 2 h"),
    ],
)
def test_a_wait_is_told_in_two_units(seconds: float, words: str) -> None:
    assert describe_wait(NOW, NOW + timedelta(seconds=seconds)) == words
