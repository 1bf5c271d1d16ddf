"""Output for people in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from outspool.api.results.listing import format_counts
from outspool.cli.printing import format_precise


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


def test_a_count_that_ended_at_the_most_is_shown_as_that_many_or_more() -> None:
    assert format_counts({"queued": 3, "sending": 999, "sent": 1000}) == "3 queued, 999 sending, 1,000+ sent"
    assert format_counts({}) == ""
