"""The dispatcher's alarm, by wall clock, and its periodic chores, by a monotonic clock.

APScheduler only triggers the alarm; it stores nothing, because the emails table is the truth. It does not run the
chores, because its intervals use the wall clock: setting the clock back by an hour would stop every heartbeat for an
hour.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger

from outspool.adapters.system_clock import time_since_start
from outspool.ports.clock import Clock

logger = logging.getLogger(__name__)

_ALARM = "alarm"

_LONGEST_NAP = 1.0
"""Within this many seconds a chore notices that the machine slept."""


class Ticker:
    """Triggers one alarm at a time (the `Alarm` port) and repeats chores, on a running event loop.

    If the clock is set back, the alarm waits for its time. If it is set forward, or the machine slept, the alarm may be
    late, so a chore should poll too.
    """

    def __init__(
        self, ring: Callable[[], None], *, clock: Clock, elapsed: Callable[[], float] = time_since_start
    ) -> None:
        """Call `ring` when the alarm is due by `clock`. `elapsed` measures the seconds between chores."""
        # The default grace of one second would drop a late alarm.
        defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone="UTC", job_defaults=defaults)
        self._ring = ring
        self._clock = clock
        self._elapsed = elapsed
        self._chores: list[tuple[float, Callable[[], Awaitable[Any]]]] = []
        self._under_way: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the alarm and the chores."""
        self._scheduler.start()
        self._under_way = [asyncio.create_task(self._repeat(seconds, chore)) for seconds, chore in self._chores]

    async def stop(self) -> None:
        """Stop. A running chore is canceled, but its database transaction completes."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for chore in self._under_way:
            chore.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def set(self, at: datetime | None) -> None:
        """See `Alarm.set`."""
        if at is None:
            if self._scheduler.get_job(_ALARM):
                self._scheduler.remove_job(_ALARM)
            return
        machines_at = datetime.now(UTC) + (at - self._clock.now())
        self._scheduler.add_job(self._ring_async, DateTrigger(machines_at), id=_ALARM, replace_existing=True)

    def every(self, seconds: float, chore: Callable[[], Awaitable[Any]]) -> None:
        """Run `chore` every `seconds` after `start`; a slow one does not overlap itself."""
        self._chores.append((seconds, chore))

    async def _repeat(self, seconds: float, chore: Callable[[], Awaitable[Any]]) -> None:
        begun = self._elapsed()
        while True:
            await self._until(begun + seconds)
            begun = self._elapsed()
            try:
                await chore()
            except Exception:
                logger.exception("a chore failed unexpectedly; it is done again")

    async def _until(self, moment: float) -> None:
        # Sleep in short steps, because the event loop's clock stops while the machine sleeps.
        while (wait := moment - self._elapsed()) > 0:  # noqa: ASYNC110 - there is no event when the machine wakes up
            await asyncio.sleep(min(wait, _LONGEST_NAP))

    async def _ring_async(self) -> None:  # APScheduler would run a plain function in a thread
        self._ring()
