"""The account's pause across several processes, on both databases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from support.outbox_samples import outlet
from support.set_clock import SetClock

from outspool.domain.fault import Trouble
from outspool.domain.retry import compute_account_pause
from outspool.errors import TroubleKind
from outspool.ports.account import AccountState
from outspool.services.delivery.breaker import Breaker
from outspool.services.delivery.timings import Timings

DOWN = Trouble(TroubleKind.NETWORK, "The server is down.", "Wait.")
WRONG_PASSWORD = Trouble(TroubleKind.LOGIN, "The password is wrong.", "Mend it.")
TOO_FAST = Trouble(TroubleKind.THROTTLED, "Too fast.")
PACE = Timings()


@asynccontextmanager
async def breakers(url: str, clock: SetClock, *credentials: str) -> AsyncIterator[list[Breaker]]:
    """Open the account for as many processes, each with its credential and with four connections."""
    async with outlet(url) as first, outlet(url) as second, outlet(url) as third:
        yield [
            Breaker(
                box.account,
                clock=clock,
                pause=lambda kind, failures: compute_account_pause(kind, failures, lambda: 0.5),
                credential=lambda credential=credential: credential,  # type: ignore[misc]
                timings=PACE,
                connections=4,
            )
            for box, credential in zip((first, second, third), credentials, strict=False)
        ]


async def rest_is_over(clock: SetClock, *processes: Breaker) -> None:
    """Let time pass until the account may be tried."""
    state = await processes[0].refresh()
    assert state.paused_until is not None
    clock.pass_by(state.paused_until - clock.now() + timedelta(milliseconds=1))
    for process in processes:
        assert not (await process.refresh()).is_paused(clock.now())


def rest(state: AccountState, clock: SetClock) -> float:
    assert state.paused_until is not None
    return (state.paused_until - clock.now()).total_seconds()


async def test_of_all_deliveries_that_fail_at_once_one_counts(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a", "a") as processes:
        await asyncio.gather(*(process.trip(DOWN) for process in processes for _ in range(4)))
        states = [await process.refresh() for process in processes]
    assert [state.failures for state in states] == [1, 1, 1]
    assert len({state.paused_until for state in states}) == 1


async def test_a_process_that_knows_less_neither_shortens_nor_ends_a_pause(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a") as (one, two):
        await one.trip(WRONG_PASSWORD)
        before = await one.refresh()
        assert two.trouble() is None  # it has not looked yet
        await two.trip(DOWN)
        two.record_success()  # over a connection that was opened before
        assert two.trouble() is not None
        assert await one.refresh() == before


async def test_one_process_alone_tries_and_what_it_finds_counts(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a", "a") as processes:
        await processes[0].trip(DOWN)
        await rest_is_over(clock, *processes)
        probes = await asyncio.gather(*(process.take_probe() for process in processes))
        (probe,) = [probe for probe in probes if probe is not None]
        for process in processes:
            assert (await process.refresh()).is_paused(clock.now())
        probe.passes()
        await probe.conclude()
        assert [await process.refresh() for process in processes] == [AccountState()] * 3


async def test_pauses_grow_with_each_trial_that_fails_and_begin_anew_with_another_trouble(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a") as (process,):
        await process.trip(DOWN)
        rests = [rest(process.state, clock)]
        for found in (DOWN, DOWN, TOO_FAST, TOO_FAST, DOWN):
            await rest_is_over(clock, process)
            probe = await process.take_probe()
            assert probe is not None
            probe.fails(found)
            await probe.conclude()
            rests.append(rest(await process.refresh(), clock))
    assert rests == pytest.approx([2, 4, 8, 300, 600, 2], abs=1)


async def test_a_process_that_dies_while_it_tries_has_tried(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a") as (one, two):
        await one.trip(WRONG_PASSWORD)
        await rest_is_over(clock, one, two)
        assert await one.take_probe() is not None  # and dies
        assert rest(await two.refresh(), clock) == pytest.approx(1200, abs=1)
        assert await two.take_probe() is None
        await two.allow_probe()  # as each start does
        assert rest(await two.refresh(), clock) == pytest.approx(1200, abs=1)


async def test_a_trial_that_took_too_long_has_nothing_more_to_say(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a") as (one, two):
        await one.trip(DOWN)
        await rest_is_over(clock, one, two)
        slow = await one.take_probe()
        await rest_is_over(clock, two)
        quick = await two.take_probe()
        assert slow is not None
        assert quick is not None
        slow.passes()
        await slow.conclude()
        assert (await one.refresh()).failures == 3
        quick.fails(TOO_FAST)
        await quick.conclude()
        assert (await one.refresh()).kind == TroubleKind.THROTTLED


async def test_a_trial_that_never_reached_the_server_leaves_the_next_at_once(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a") as (one, two):
        await one.trip(DOWN)
        await rest_is_over(clock, one, two)
        probe = await one.take_probe()
        assert probe is not None
        await probe.conclude()
        assert (await two.refresh()).failures == 1
        assert await two.take_probe() is not None


@pytest.mark.parametrize(
    ("trouble", "credential", "ends"),
    [(DOWN, "old", True), (WRONG_PASSWORD, "old", False), (WRONG_PASSWORD, "new", True), (TOO_FAST, "new", False)],
)
async def test_a_start_ends_a_pause_that_it_may_have_mended(
    database_url: str, trouble: Trouble, credential: str, ends: bool
) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "old", credential) as (one, starting):
        await one.trip(trouble)
        await starting.allow_probe()
        assert (await one.refresh()).is_paused(clock.now()) is not ends
        assert starting.trouble() is not None  # until a trial has passed


async def test_a_clock_that_was_set_back_does_not_stretch_a_pause(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a") as (process,):
        await process.trip(DOWN)
        clock.step(timedelta(hours=-5))
        state = await process.refresh()
        assert not state.is_paused(clock.now())
        assert await process.take_probe() is not None


async def test_the_log_says_once_in_each_process_what_ails_the_account_and_that_it_is_mended(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SetClock()
    caplog.set_level(logging.INFO, logger="outspool")
    async with breakers(database_url, clock, "a", "a") as (one, two):
        await one.trip(DOWN)
        for passes in (False, False, False, True):
            await rest_is_over(clock, one, two)
            probe = await one.take_probe()
            assert probe is not None
            probe.passes() if passes else probe.fails(DOWN)
            await probe.conclude()
            await two.refresh()
    lines = [record.getMessage() for record in caplog.records if record.name.endswith("breaker")]
    assert sum("The server is down." in line for line in lines) == 2
    assert sum("works again" in line for line in lines) == 2
    assert len(lines) == 4


async def test_after_trouble_each_process_begins_with_one_connection(database_url: str) -> None:
    clock = SetClock()
    async with breakers(database_url, clock, "a", "a") as processes:
        for process in processes:
            for _ in range(4):
                process.record_success()
            assert [await process.limiter.acquire() for _ in range(4)] == [0] * 4
        await processes[0].trip(TOO_FAST)
        for process in processes:
            await process.refresh()
            process.limiter.release(0)  # of the time before; the other three still hang
            assert await process.limiter.acquire() == 1
            process.limiter.release(0)
            waiting = asyncio.ensure_future(process.limiter.acquire())
            await asyncio.sleep(0)
            assert not waiting.done()
            assert process.limiter.limit == 2  # the server asked for patience: half as many, for a while
            process.limiter.close()
            await waiting
