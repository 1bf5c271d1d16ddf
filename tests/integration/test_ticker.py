"""Chores follow the monotonic clock, the alarm the wall clock, however the clock is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from support.set_clock import SetClock

from outspool.adapters.system_clock import SystemClock
from outspool.adapters.ticker import Ticker


@asynccontextmanager
async def ticking(clock: SetClock, chore: asyncio.Event, *, seconds: float = 3600) -> AsyncIterator[Ticker]:
    """Run a ticker whose alarm and whose chore set `chore`."""

    async def do() -> None:
        chore.set()

    ticker = Ticker(chore.set, clock=clock, elapsed=clock.elapsed)
    ticker.every(seconds, do)
    ticker.start()
    try:
        yield ticker
    finally:
        await ticker.stop()


async def again(event: asyncio.Event, *, max_wait: float) -> None:
    event.clear()
    async with asyncio.timeout(max_wait):
        await event.wait()


async def test_chores_go_on_when_the_clock_is_set_back_or_forward() -> None:
    clock, done = SetClock(), asyncio.Event()
    async with ticking(clock, done, seconds=0.05):
        for step in (timedelta(hours=-3), timedelta(hours=3), timedelta(days=2)):
            clock.step(step)
            for _ in range(3):
                await again(done, max_wait=2)


async def test_a_chore_is_made_up_for_once_when_the_machine_has_slept() -> None:
    clock, done = SetClock(), asyncio.Event()
    async with ticking(clock, done):
        await asyncio.sleep(0)
        clock.pass_by(timedelta(hours=8))
        await again(done, max_wait=3)
        done.clear()
        await asyncio.sleep(1.2)
        assert not done.is_set()


async def test_an_alarm_rings_at_its_time_by_a_clock_that_differs_from_the_machines() -> None:
    clock, rung = SetClock(), asyncio.Event()
    clock.step(timedelta(hours=5))
    async with ticking(clock, rung) as ticker:
        ticker.set(clock.now() + timedelta(seconds=0.2))
        await again(rung, max_wait=2)
        ticker.set(clock.now() - timedelta(days=1))
        await again(rung, max_wait=2)
        ticker.set(clock.now() + timedelta(seconds=0.3))
        ticker.set(None)
        rung.clear()
        await asyncio.sleep(0.5)
        assert not rung.is_set()


async def test_a_chore_that_fails_is_done_again() -> None:
    clock, done, tries = SetClock(), asyncio.Event(), []

    async def fail_once() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ZeroDivisionError
        done.set()

    ticker = Ticker(done.set, clock=clock)
    ticker.every(0.02, fail_once)
    ticker.start()
    await again(done, max_wait=2)
    await ticker.stop()


async def test_time_that_passed_never_runs_backwards() -> None:
    clock = SystemClock()
    moments = [clock.elapsed() for _ in range(100)]
    assert moments == sorted(moments)
