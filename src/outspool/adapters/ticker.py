"""APScheduler as the clock of a dispatcher, never its store: jobs live in memory, the emails table is the truth."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

_ALARM = "alarm"


class Ticker:
    """Rings one alarm at a time (the `Alarm` port) and repeats chores. Must be used on a running event loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        """Call `ring` when the alarm goes off."""
        # The default grace of one second would drop an alarm that is late: late is better than never.
        defaults = {"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        self._scheduler = AsyncIOScheduler(timezone="UTC", job_defaults=defaults)
        self._ring = ring

    def start(self) -> None:
        """Begin to tick."""
        self._scheduler.start()

    def stop(self) -> None:
        """Tick no more. A chore under way is canceled; what it began in the database still ends whole."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def set(self, at: datetime | None) -> None:
        """See `Alarm.set`."""
        if at is None:
            if self._scheduler.get_job(_ALARM):
                self._scheduler.remove_job(_ALARM)
            return
        self._scheduler.add_job(self._ring_async, DateTrigger(at), id=_ALARM, replace_existing=True)

    def every(self, seconds: float, chore: Callable[[], Awaitable[Any]]) -> None:
        """Run `chore` every so many seconds; a slow one is not started twice."""
        self._scheduler.add_job(chore, IntervalTrigger(seconds=seconds))

    async def _ring_async(self) -> None:  # a coroutine runs on the loop, a function would go to a thread
        self._ring()
