"""The times of series, also when the clocks change, and rejected rules."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outspool.domain.cron_fields import read_cron
from outspool.domain.cron_times import next_time
from outspool.domain.recurrence import Recurrence, read_recurrence
from outspool.errors import InvalidSchedule

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday
BERLIN = "Europe/Berlin"
ZONES = [
    BERLIN,
    "America/New_York",
    "America/Santiago",  # its clocks change at midnight
    "Asia/Beirut",  # so do these
    "Africa/Cairo",
    "Africa/Casablanca",  # one hour less during Ramadan
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Asia/Kolkata",
    "Pacific/Chatham",
    "Antarctica/Troll",  # two hours
    "UTC",
]


def times(cron: str, start: datetime, count: int, zone: str = BERLIN) -> list[str]:
    """Return so many times from `start` on, as the clocks there show them."""
    rule, found = read_recurrence(cron, timezone=zone), []
    for _ in range(count):
        following = rule.next_after(start)
        assert following is not None
        start = following
        found.append(start.astimezone(ZoneInfo(zone)).strftime("%a %m-%d %H:%M %z"))
    return found


def day(month: int, day_of_month: int, hour: int = 0, minute: int = 0, *, year: int = 2026) -> datetime:
    return datetime(year, month, day_of_month, hour, minute, tzinfo=UTC)


def test_nine_in_the_morning_stays_nine_in_the_morning_when_the_clocks_change() -> None:
    assert times("0 9 * * *", day(3, 28), 3) == [
        "Sat 03-28 09:00 +0100",
        "Sun 03-29 09:00 +0200",
        "Mon 03-30 09:00 +0200",
    ]
    assert times("0 9 * * 0", day(10, 18), 3) == [
        "Sun 10-18 09:00 +0200",
        "Sun 10-25 09:00 +0100",
        "Sun 11-01 09:00 +0100",
    ]


def test_a_time_that_the_clocks_skip_happens_once_right_after_the_gap() -> None:
    assert times("30 2 * * *", day(3, 28), 3) == [
        "Sat 03-28 02:30 +0100",
        "Sun 03-29 03:00 +0200",
        "Mon 03-30 02:30 +0200",
    ]
    assert times("15,45 2 * * *", day(3, 28, 12), 2) == ["Sun 03-29 03:00 +0200", "Mon 03-30 02:15 +0200"]


def test_a_time_that_comes_twice_happens_the_first_time_alone() -> None:
    first = ["Sun 10-25 02:30 +0200", "Mon 10-26 02:30 +0100"]
    assert times("30 2 * * *", day(10, 24, 12), 2) == first
    assert times("30 2 * * *", day(10, 25, 0, 30), 1) == first[1:]
    assert times("30 2 * * *", day(10, 25, 1, 15), 1) == first[1:]  # 02:15 for the second time


def test_what_happens_every_hour_goes_on_while_the_clocks_change() -> None:
    autumn = [
        *("Sun 10-25 02:00 +0200", "Sun 10-25 02:30 +0200", "Sun 10-25 02:00 +0100", "Sun 10-25 02:30 +0100"),
        "Sun 10-25 03:00 +0100",
    ]
    assert times("*/30 * * * *", day(10, 24, 23, 30), 5) == autumn
    spring = ["Sun 03-29 01:15 +0100", "Sun 03-29 03:15 +0200", "Sun 03-29 04:15 +0200"]
    assert times("15 * * * *", day(3, 29), 3) == spring


def test_midnight_happens_every_day_also_where_clocks_change_at_midnight() -> None:
    assert times("0 0 * * *", day(9, 5, 12), 2, "America/Santiago") == [
        "Sun 09-06 01:00 -0300",
        "Mon 09-07 00:00 -0300",
    ]
    assert times("0 0 * * *", day(4, 4, 12), 2, "America/Santiago") == [
        "Sun 04-05 00:00 -0400",
        "Mon 04-06 00:00 -0400",
    ]


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 9 * * 0", ["Sun", "Sun"]),
        ("0 9 * * 7", ["Sun", "Sun"]),
        ("0 9 * * 1", ["Mon", "Mon"]),
        ("0 9 * * MON-fri", ["Mon", "Tue", "Wed", "Thu", "Fri", "Mon"]),
        ("0 9 * * 1-5", ["Mon", "Tue", "Wed", "Thu", "Fri", "Mon"]),
        ("0 9 * * 0-6", ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]),
        ("0 9 * * */2", ["Sun", "Tue", "Thu", "Sat", "Sun"]),
        ("0 9 * * fri-sun", ["Sun", "Fri", "Sat", "Sun"]),
        ("0 9 * * mon-fri/2", ["Mon", "Wed", "Fri", "Mon"]),
        ("0 9 * * sat,2", ["Tue", "Sat", "Tue"]),
    ],
)
def test_days_of_the_week_count_from_sunday_as_in_crontab(cron: str, days: list[str]) -> None:
    assert [time[:3] for time in times(cron, day(11, 21, 12), len(days))] == days


@pytest.mark.parametrize(
    ("cron", "found"),
    [
        ("0 9 * * mon#1", ["Mon 12-07", "Mon 01-04"]),
        ("0 9 * * 7#2", ["Sun 12-13", "Sun 01-10"]),
        ("0 9 L * *", ["Mon 11-30", "Thu 12-31"]),
        ("0 9 31 * *", ["Thu 12-31", "Sun 01-31"]),
        ("0 9 1 jan,Jul *", ["Fri 01-01", "Thu 07-01"]),
        ("0 9 29 2 *", ["Tue 02-29", "Sun 02-29"]),
        ("  0   9\t* * * ", ["Mon 11-23", "Tue 11-24"]),
    ],
)
def test_days_of_the_month_are_those_meant(cron: str, found: list[str]) -> None:
    assert [time[:9] for time in times(cron, NOW, 2)] == found


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("", "is not a cron expression"),
        ("every monday", "has 2 of five fields"),
        ("@daily", "has 1 of five fields"),
        ("0 9 * *", "has 4 of five fields"),
        ("0 0 9 * * *", "has 6 of five fields; seconds, years"),
        ("0 9 1 * 1", "programs read that in two ways"),
        ("60 9 * * *", '"60" is no minute (0 to 59'),
        ("0 24 * * *", '"24" is no hour (0 to 23'),
        ("0 9 0 * *", '"0" is no day of the month (1 to 31'),
        ("0 9 32 * *", '"32" is no day of the month'),
        ("0 9 * 13 *", '"13" is no month (1 to 12 or jan to dec'),
        ("0 9 * foo *", '"foo" is no month'),
        ("0 9 * * 8", '"8" is no day of the week (0 to 7 or sun to sat'),
        ("0 9 * * foo", '"foo" is no day of the week'),
        ("0 9 * * monday", '"monday" is no day of the week'),
        ("0 9 * * 1#6", '"1#6" is no day of the week'),
        ("0 9 * * 9#1", '"9#1" is no day of the week'),
        ("0 9 * * foo#1", '"foo" is no day of the week'),
        ("0 9 * * 5-1", '"5-1" is no day of the week'),
        ("*/0 * * * *", '"*/0" is no minute'),
        ("*/60 * * * *", '"*/60" is no minute'),
        ("5-1 * * * *", '"5-1" is no minute'),
        ("-5 * * * *", '"-5" is no minute'),
        ("1,,2 * * * *", '"" is no minute'),
        ("1.5 * * * *", '"1.5" is no minute'),
        ("٣ 9 * * *", '"٣" is no minute'),
        ("0 9 ? * *", '"?" is no day of the month'),
        ("0 9 lastx * *", '"lastx" is no day of the month'),
        ("0 9 * jan-marx *", '"jan-marx" is no month'),
        ("0\n9 * * * ; DROP TABLE emails", "has 9 of five fields"),
        ("9" * 100_000, "is not a cron expression"),
    ],
)
def test_what_is_no_cron_expression_is_refused_in_a_sentence(cron: str, said: str) -> None:
    with pytest.raises(InvalidSchedule) as refused:
        read_recurrence(cron, timezone=BERLIN)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("cron", ["0 9 30 2 *", "0 9 31 4,6,9,11 *", "0 9 31 2-2 *", "0 0 30-31 feb *"])
def test_what_never_comes_true_is_refused_at_once(cron: str) -> None:
    with pytest.raises(InvalidSchedule, match="never comes true"):
        read_recurrence(cron, timezone=BERLIN).first(now=NOW)


@pytest.mark.parametrize("zone", ["", "CET+1", "Berlin", "../../etc/passwd", "localtime", "Europe", "X" * 9999])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(InvalidSchedule, match="is not the IANA name"):
        read_recurrence("0 9 * * *", timezone=zone)


def test_a_series_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="needs a timezone"):
        read_recurrence("0 9 * * *", timezone=None)


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("2026-11-24", "2026-11-24T22:59:59.999999+00:00"),
        ("2026-11-24T09:00", "2026-11-24T08:00:00+00:00"),
        ("2026-11-24T09:00:00Z", "2026-11-24T09:00:00+00:00"),
        ("2026-11-24T09:00:00-05:00", "2026-11-24T14:00:00+00:00"),
        ("2027-03-28", "2027-03-28T21:59:59.999999+00:00"),
    ],
)
def test_the_end_is_a_time_or_a_day_that_is_included(until: str, last: str) -> None:
    assert read_recurrence("0 9 * * *", timezone=BERLIN, until=until).until == datetime.fromisoformat(last)


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("9999-12-31", "until .* is no time to plan for"),
        ("9999-12-31T23:59:59-14:00", "until .* is no time to plan for"),
        ("2026-02-30", "until .* is no time to plan for"),
        ("next year", "until .* is not an ISO 8601"),
        ("2027-03-28T02:30", "until .* does not exist in Europe/Berlin"),
        ("2026-10-25T02:30", "until .* happens twice"),
        ("", "until .* is not an ISO 8601"),
    ],
)
def test_an_end_that_is_none_is_refused(until: str, said: str) -> None:
    with pytest.raises(InvalidSchedule, match=said):
        read_recurrence("0 9 * * *", timezone=BERLIN, until=until)


@pytest.mark.parametrize("count", [0, -1, 100_001])
def test_a_count_that_counts_nothing_is_refused(count: int) -> None:
    with pytest.raises(InvalidSchedule, match="count must be 1 to 100,000"):
        read_recurrence("0 9 * * *", timezone=BERLIN, count=count)


def test_an_end_before_the_first_time_is_refused_with_that_time() -> None:
    with pytest.raises(InvalidSchedule, match=r"until is before the first time, 2026-11-23T08:00:00Z"):
        read_recurrence("0 9 * * *", timezone=BERLIN, until="2026-11-22").first(now=NOW)


def test_a_series_ends_with_its_last_time_or_its_last_email() -> None:
    by_time = read_recurrence("0 9 * * *", timezone=BERLIN, until="2026-11-24T09:00")
    assert by_time.next_after(day(11, 24, 7)) == day(11, 24, 8)
    assert by_time.next_after(day(11, 24, 8)) is None
    by_number = read_recurrence("0 9 * * *", timezone=BERLIN, count=3, made=2)
    assert by_number.next_after(NOW) == day(11, 23, 8)
    assert read_recurrence("0 9 * * *", timezone=BERLIN, count=3, made=3).next_after(NOW) is None


def test_the_first_time_may_be_the_very_start() -> None:
    rule = read_recurrence("0 9 * * *", timezone=BERLIN)
    assert rule.first(now=day(11, 23, 8)) == day(11, 23, 8)
    assert rule.first(now=day(11, 23, 8) + timedelta(microseconds=1)) == day(11, 24, 8)


def test_the_same_rule_is_equal_however_it_is_written() -> None:
    assert read_recurrence(" 0  9 * * MON ", timezone=BERLIN) == read_recurrence("0 9 * * mon", timezone=BERLIN)


def test_after_a_year_of_sleep_the_latest_time_is_found_at_once() -> None:
    for cron in ("* * * * *", "* 9 * * *", "0 9 * * mon", "* * 1 1 *", "0 9 29 2 *"):
        rule = read_recurrence(cron, timezone=BERLIN)
        first, now = rule.first(now=day(1, 1, year=2024)), day(1, 1, 12, year=2025)
        latest = rule.latest_until(first, now=now)
        assert first <= latest <= now
        following = rule.next_after(latest)
        assert following is not None
        assert following > now


MINUTES = st.sampled_from(["0", "30", "*/15", "*/7", "5-55/25", "59", "1,2,3"])
HOURS = st.sampled_from(["*", "0", "1", "2", "3", "*/2", "0-3", "23", "1-2"])
DAYS = st.sampled_from(["* * *", "1 * *", "L * *", "28-31 * *", "* * sun", "* * 1-5", "* * sun#1"])
CRONS = st.tuples(MINUTES, HOURS, DAYS).map(" ".join)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=150, deadline=None)
@given(cron=CRONS, zone=st.sampled_from(ZONES), start=MOMENTS)
def test_times_ascend_and_show_on_the_clock_as_written_or_end_a_gap(cron: str, zone: str, start: datetime) -> None:
    rule, there = read_recurrence(cron, timezone=zone), ZoneInfo(zone)
    before = start
    for _ in range(20):
        found = rule.next_after(before)
        assert found is not None
        assert found > before
        # Nothing lies between: asking from anywhere before it gives the same.
        assert rule.next_after(before + (found - before) / 2) == found
        wall = found.astimezone(there)
        jumped = wall.utcoffset() != (found - timedelta(seconds=1)).astimezone(there).utcoffset()
        if not jumped:
            assert _is_true(cron, wall), wall
        before = found


def _is_true(cron: str, wall: datetime) -> bool:
    naive = wall.replace(tzinfo=None)
    fields = read_cron(cron)
    return next_time(fields, ZoneInfo("UTC"), after=naive.replace(tzinfo=UTC) - timedelta(seconds=1)) == naive.replace(
        tzinfo=UTC
    )


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("clock", ["0 0", "30 0", "30 1", "0 2", "30 2", "45 2", "0 3", "0 9", "59 23"])
def test_every_day_of_a_year_has_its_one_time(zone: str, clock: str) -> None:
    minute, hour = clock.split()
    rule, there = read_recurrence(f"{minute} {hour} * * *", timezone=zone), ZoneInfo(zone)
    moment, found = day(1, 1, year=2026) - timedelta(seconds=1), []
    while moment < day(1, 1, year=2027):
        following = rule.next_after(moment)
        assert following is not None
        moment = following
        found.append(moment)
    days = Counter(time.astimezone(there).date() for time in found)
    assert set(days.values()) == {1}
    assert all((later - earlier).total_seconds() <= 27 * 3600 for earlier, later in pairwise(found))
    assert len(found) in (365, 366)


def test_a_rule_says_what_it_was_given() -> None:
    rule = read_recurrence("0 9 * * mon", timezone=BERLIN, until="2027-01-01T00:00:00Z", count=5)
    assert rule == Recurrence(
        cron="0 9 * * mon", timezone=BERLIN, until=datetime(2027, 1, 1, tzinfo=UTC), count=5, made=0
    )
