"""Delays of emails and pauses of accounts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.domain.retry import LONGEST_DELAY, RetryPolicy, compute_account_pause
from outspool.errors import MisconfiguredError, TroubleKind

_CHANCE = st.floats(0, 1, exclude_max=True)
_DELAYS = st.lists(st.timedeltas(timedelta(seconds=1), timedelta(days=30)), min_size=1, max_size=5).map(tuple)


def _middle() -> float:
    return 0.5


def test_the_default_waits_are_one_five_and_thirty_minutes_and_then_it_is_over() -> None:
    waits = [RetryPolicy().next_delay(attempts, _middle) for attempts in range(1, 6)]
    assert waits == [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), None, None]


def test_further_retries_double_the_last_delay_up_to_four_hours() -> None:
    policy = RetryPolicy(max_retries=9)
    waits = [policy.next_delay(attempts, _middle) for attempts in range(4, 10)]
    assert waits == [timedelta(hours=h) for h in (1, 2, 4, 4, 4, 4)]


def test_no_retries_means_one_attempt() -> None:
    assert RetryPolicy(max_retries=0).next_delay(1, _middle) is None


def test_a_wait_before_the_first_attempt_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="no attempt"):
        RetryPolicy().next_delay(0, _middle)


@pytest.mark.parametrize(
    ("retries", "delays"), [(-1, (timedelta(1),)), (1, ()), (1, (timedelta(),)), (1, (timedelta(1), timedelta(-1)))]
)
def test_a_policy_that_nobody_can_follow_stops_the_start(retries: int, delays: tuple[timedelta, ...]) -> None:
    with pytest.raises(MisconfiguredError):
        RetryPolicy(max_retries=retries, delays=delays)


@given(retries=st.integers(0, 10_000), attempts=st.integers(1, 20_000), delays=_DELAYS, chance=_CHANCE)
def test_there_is_a_wait_exactly_while_retries_are_left(
    retries: int, attempts: int, delays: tuple[timedelta, ...], chance: float
) -> None:
    wait = RetryPolicy(max_retries=retries, delays=delays).next_delay(attempts, lambda: chance)
    assert (wait is None) == (attempts > retries)
    if wait is not None:
        assert timedelta() < wait <= max(*delays, LONGEST_DELAY) * 1.1


@given(attempts=st.integers(1, 200), delays=_DELAYS, chance=_CHANCE)
def test_jitter_moves_a_wait_by_a_tenth_at_most(attempts: int, delays: tuple[timedelta, ...], chance: float) -> None:
    policy = RetryPolicy(max_retries=200, delays=delays)
    plain, wait = policy.next_delay(attempts, _middle), policy.next_delay(attempts, lambda: chance)
    assert plain is not None
    assert wait is not None
    assert plain * 0.9 - timedelta(microseconds=1) <= wait <= plain * 1.1 + timedelta(microseconds=1)


def test_jitter_uses_the_whole_tenth_both_ways() -> None:
    assert RetryPolicy().next_delay(1, lambda: 0.0) == timedelta(seconds=54)
    assert RetryPolicy().next_delay(1, lambda: 0.999999) == pytest.approx(
        timedelta(seconds=66), abs=timedelta(milliseconds=1)
    )


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        (TroubleKind.NETWORK, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
        (TroubleKind.TLS, [60, 120, 240, 480, 960, 1800, 1800]),
        (TroubleKind.LOGIN, [600, 1200, 2400, 3600, 3600]),
        (TroubleKind.THROTTLED, [300, 600, 1200, 2400, 3600, 3600]),
    ],
)
def test_an_account_rests_longer_with_each_failure_up_to_a_cap(kind: TroubleKind, seconds: list[int]) -> None:
    pauses = [compute_account_pause(kind, failures, _middle) for failures in range(1, len(seconds) + 1)]
    assert pauses == [timedelta(seconds=s) for s in seconds]


@given(kind=st.sampled_from(TroubleKind), failures=st.integers(1, 10**9), chance=_CHANCE)
def test_no_account_rests_for_nothing_or_for_ever(kind: TroubleKind, failures: int, chance: float) -> None:
    pause = compute_account_pause(kind, failures, lambda: chance)
    assert timedelta(seconds=1) < pause <= timedelta(minutes=66)


def test_a_wrong_password_is_tried_a_handful_of_times_in_the_first_hours() -> None:
    at, tries = timedelta(), 0
    while at < timedelta(hours=3):
        tries += 1
        at += compute_account_pause(TroubleKind.LOGIN, tries, lambda: 0.0)
    assert tries <= 6


def test_a_pause_without_a_failure_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match="did not fail"):
        compute_account_pause(TroubleKind.TLS, 0, _middle)
