"""Puts right what was computed under a wrong clock: deferred times are clamped, series recalculated."""

from __future__ import annotations

import logging
from datetime import timedelta

from outspool.ports.clock import Clock
from outspool.ports.queue import Expiry, Queue
from outspool.services.delivery.clock_watch import ClockWatch
from outspool.services.delivery.occurrences import Occurrences

logger = logging.getLogger(__name__)

_LONGEST_DEFERRAL = timedelta(hours=26)
"""No deferral is longer: the daily quota frees a place within 24 hours, retries and pauses within fewer."""
_EVERY_SECONDS = 3600.0


class ClockRepair:
    """Looks at the start, after every jump of the clock, and once an hour: another process may have had a wrong one."""

    def __init__(self, queue: Queue, occurrences: Occurrences, watch: ClockWatch, *, clock: Clock) -> None:
        """Repair what `queue` and `occurrences` hold; `watch` says when."""
        self._queue = queue
        self._occurrences = occurrences
        self._watch = watch
        self._clock = clock
        self._done_at: float | None = None
        self._jumps = 0

    async def look(self) -> None:
        """Repair if it is time to, and the clock is steady. Raises `StoreUnavailable`; then it is tried again."""
        elapsed = self._clock.elapsed()
        is_over = self._done_at is None or elapsed - self._done_at > _EVERY_SECONDS or self._jumps != self._watch.jumps
        if not is_over or self._watch.expiry() is Expiry.HELD:
            return
        jumps, now = self._watch.jumps, self._clock.now()
        clamped = await self._queue.clamp(now=now, furthest=now + _LONGEST_DEFERRAL)
        if clamped:
            logger.warning("%d emails that a wrong clock had put off are due now", clamped)
        await self._occurrences.recalculate(now=now)
        self._done_at, self._jumps = elapsed, jumps
