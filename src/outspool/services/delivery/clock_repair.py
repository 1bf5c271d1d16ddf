"""Repairs what a wrong clock computed: clamps deferred emails and recalculates series."""

from __future__ import annotations

import logging
from datetime import timedelta

from outspool.ports.clock import Clock
from outspool.ports.queue import Expiry, Queue
from outspool.services.delivery.clock_watch import ClockWatch
from outspool.services.delivery.occurrences import Occurrences

logger = logging.getLogger(__name__)

_LONGEST_DEFERRAL = timedelta(hours=26)
"""No correct deferral is longer: the daily quota frees up within 24 hours; retries and pauses are shorter."""
_INTERVAL_SECONDS = 3600.0


class ClockRepair:
    """Repairs at start, after every clock jump, and hourly, because another process may have had a wrong clock."""

    def __init__(self, queue: Queue, occurrences: Occurrences, watch: ClockWatch, *, clock: Clock) -> None:
        """Repair the contents of `queue` and `occurrences`; `watch` reports jumps."""
        self._queue = queue
        self._occurrences = occurrences
        self._watch = watch
        self._clock = clock
        self._repaired_at: float | None = None
        self._repaired_jumps = 0

    async def look(self) -> None:
        """Repair if due and the clock is steady. On `StoreUnavailable`, which is raised, the next call tries again."""
        elapsed = self._clock.elapsed()
        is_due = (
            self._repaired_at is None
            or elapsed - self._repaired_at > _INTERVAL_SECONDS
            or self._repaired_jumps != self._watch.jumps
        )
        if not is_due or self._watch.expiry() is Expiry.HELD:
            return
        jumps, now = self._watch.jumps, self._clock.now()
        clamped_count = await self._queue.clamp(now=now, furthest=now + _LONGEST_DEFERRAL)
        if clamped_count:
            logger.warning("%d emails that a wrong clock had put off are due now", clamped_count)
        await self._occurrences.recalculate(now=now)
        self._repaired_at, self._repaired_jumps = elapsed, jumps
