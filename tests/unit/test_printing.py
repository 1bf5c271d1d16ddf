"""Output for people in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from outspool.api.results.listing import format_counts
from outspool.cli.printing import format_precise
from outspool.cli.times import localize


@pytest.fixture(params=["America/New_York", "UTC", "Asia/Kolkata"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Move this machine, for one test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def test_a_time_is_written_without_its_offset_wherever_one_is(zone: str) -> None:
    hour = {"America/New_York": "04:00", "UTC": "09:00", "Asia/Kolkata": "14:30"}[zone]
    assert format_precise(datetime(2026, 11, 22, 9, 0, 0, 250_000, tzinfo=UTC)) == f"2026-11-22 {hour}:00.250"


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at 2026-12-01T08:00:00Z, then", "at 2026-12-01 09:00:00 CET, then"),
        ("at 2026-07-01T08:00:00.250Z.", "at 2026-07-01 10:00:00 CEST."),
        ("at 2026-12-01 09:00+01:00 Europe/Berlin (2026-12-01T08:00:00Z), then", "at 2026-12-01 09:00:00 CET, then"),
        (
            "at 2026-12-01 17:00+09:00 Asia/Tokyo (2026-12-01T08:00:00Z), then",
            "at 2026-12-01 17:00+09:00 Asia/Tokyo (2026-12-01 09:00:00 CET), then",
        ),
        ("at 2026-12-01T09:00:00+01:00 or later", "at 2026-12-01T09:00:00+01:00 or later"),
    ],
)
def test_a_time_in_a_sentence_is_on_this_machines_clocks(zone: str, text: str, shown: str) -> None:
    assert localize(text) == shown


def test_a_count_that_ended_at_the_most_is_shown_as_that_many_or_more() -> None:
    assert format_counts({"queued": 3, "sending": 999, "sent": 1000}) == "3 queued, 999 sending, 1,000+ sent"
    assert format_counts({}) == ""
