"""A set clock is noticed, a sleep is not, and the clock is trusted again in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from outspool.adapters.sql.clock import DatabaseClock
from outspool.ports.queue import Expiry, WorkerHeartbeat
from outspool.services.delivery.clock_watch import GRACE_SECONDS, STEADY_SECONDS, ClockWatch

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


class Hand:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.shown = BEGAN
        self.passed = 100.0

    def now(self) -> datetime:
        return self.shown

    def elapsed(self) -> float:
        return self.passed

    def go_on(self, seconds: float) -> None:
        self.shown += timedelta(seconds=seconds)
        self.passed += seconds

    def step(self, span: timedelta) -> None:
        self.shown += span


@pytest.fixture
def clock() -> Hand:
    """Return a clock."""
    return Hand()


@pytest.fixture
def watch(clock: Hand) -> ClockWatch:
    """Return what watches `clock`."""
    return ClockWatch(clock)


def test_a_machine_that_slept_for_a_month_has_not_jumped(clock: Hand, watch: ClockWatch) -> None:
    clock.go_on(30 * 86400)
    assert watch.expiry() is Expiry.ALL
    assert watch.jumps == 0


def test_ntp_may_move_a_clock_as_far_as_it_likes_little_by_little(clock: Hand, watch: ClockWatch) -> None:
    for _ in range(100):
        clock.go_on(60)
        clock.step(timedelta(seconds=30))
        assert watch.expiry() is Expiry.ALL


@pytest.mark.parametrize("span", [YEAR, -YEAR, timedelta(minutes=2), timedelta(minutes=-2)])
def test_a_jump_holds_expiry_back_for_five_minutes_and_spares_the_untried_for_an_hour(
    clock: Hand, watch: ClockWatch, span: timedelta
) -> None:
    clock.step(span)
    assert watch.expiry() is Expiry.HELD
    clock.go_on(STEADY_SECONDS - 1)
    assert watch.expiry() is Expiry.HELD
    clock.go_on(1)
    assert watch.expiry() is Expiry.TRIED
    assert watch.jumps == 1
    clock.go_on(GRACE_SECONDS - 1)
    assert watch.expiry() is Expiry.TRIED
    clock.go_on(1)
    assert watch.expiry() is Expiry.ALL


def test_a_clock_that_is_set_back_to_where_it_was_is_right_at_once(clock: Hand, watch: ClockWatch) -> None:
    clock.step(YEAR)
    assert watch.expiry() is Expiry.HELD
    clock.go_on(12)
    clock.step(-YEAR)
    assert watch.expiry() is Expiry.TRIED
    assert watch.jumps == 1


def test_a_second_jump_begins_the_five_minutes_anew(clock: Hand, watch: ClockWatch) -> None:
    clock.step(YEAR)
    watch.expiry()
    clock.go_on(STEADY_SECONDS - 10)
    clock.step(YEAR)
    assert watch.expiry() is Expiry.HELD
    clock.go_on(STEADY_SECONDS - 10)
    assert watch.expiry() is Expiry.HELD
    clock.go_on(10)
    assert watch.expiry() is Expiry.TRIED


def test_a_start_long_after_the_last_trace_waits_to_see_that_the_clock_is_steady(clock: Hand) -> None:
    for trace in (BEGAN - YEAR, BEGAN + YEAR):
        watch = ClockWatch(clock)
        watch.begin(trace)
        assert watch.expiry() is Expiry.HELD
    for recent in (None, BEGAN - timedelta(minutes=50)):
        watch = ClockWatch(clock)
        watch.begin(recent)
        assert watch.expiry() is Expiry.ALL


def test_another_worker_that_lives_at_another_time_makes_both_doubt_until_it_is_gone(
    clock: Hand, watch: ClockWatch
) -> None:
    for _ in range(100):
        clock.go_on(10)
        watch.compare([WorkerHeartbeat(name="other", seen_at=clock.now() - timedelta(days=6))])
    assert watch.expiry() is Expiry.HELD
    clock.go_on(STEADY_SECONDS)
    watch.compare([])
    assert watch.expiry() is Expiry.TRIED


def test_a_worker_that_died_long_ago_is_no_contradiction(clock: Hand, watch: ClockWatch) -> None:
    died = WorkerHeartbeat(name="other", seen_at=BEGAN - timedelta(days=6))
    for _ in range(10):
        clock.go_on(10)
        watch.compare([died])
    assert watch.expiry() is Expiry.ALL


def test_the_clock_of_the_database_is_the_databases_however_the_machines_is_set(clock: Hand) -> None:
    shared = DatabaseClock(clock)
    assert shared.now() == clock.now()
    assert shared.skew() == timedelta()
    shared.learn(BEGAN - timedelta(days=6), asked_at=100.0, answered_at=100.2)
    clock.go_on(60)
    clock.step(YEAR)
    assert shared.now() == BEGAN - timedelta(days=6) + timedelta(seconds=59.9)
    assert shared.skew() == timedelta(days=6) + YEAR + timedelta(seconds=0.1)
    assert shared.elapsed() == clock.elapsed()


def test_an_answer_that_was_slow_moves_no_clock_that_was_set_lately(clock: Hand) -> None:
    shared = DatabaseClock(clock)
    shared.learn(BEGAN, asked_at=100.0, answered_at=100.0)
    clock.go_on(60)
    shared.learn(BEGAN, asked_at=100.0, answered_at=160.0)
    assert shared.now() == BEGAN + timedelta(seconds=60)
    clock.go_on(600)
    shared.learn(BEGAN, asked_at=160.0, answered_at=760.0)
    assert shared.now() == BEGAN + timedelta(seconds=300), "better than the last one by now"
