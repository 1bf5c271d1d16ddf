"""Notices that somebody set the clock, so that no email ends, and no series moves on, by a time that may be wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from outspool.ports.clock import Clock
from outspool.ports.queue import Expiry, WorkerHeartbeat

logger = logging.getLogger(__name__)

JUMP = timedelta(minutes=1)
"""More than this between the time of day and the time that has passed is a jump; less is NTP at work."""
STEADY_SECONDS = 300.0
"""After a jump the new time is believed when it has gone on evenly for so long."""
GRACE_SECONDS = 3600.0
"""For so long after a jump nothing expires that nobody has tried to send."""
LONG_PAUSE = timedelta(hours=1)
"""A process that begins so much later than the last trace of anybody may have been started under a wrong clock."""


class ClockWatch:
    """Compares the time of day with the time that has passed (`Clock`), from its making on.

    A machine that slept is no jump: both went on. A clock that is set back to where it was is right again at once.
    """

    def __init__(self, clock: Clock) -> None:
        """Trust the time as it is now."""
        self._clock = clock
        self._trusted = self._candidate = self._difference()
        self._unsteady_since: float | None = None
        self._ended_at: float | None = None
        self._seen: dict[str, datetime] = {}
        self.jumps = 0
        """How many jumps are over: what was computed under a wrong clock is to be put right after each."""

    def expiry(self) -> Expiry:
        """Return what may expire now."""
        self._look()
        if self._unsteady_since is not None:
            return Expiry.HELD
        if self._ended_at is not None and self._clock.elapsed() - self._ended_at < GRACE_SECONDS:
            return Expiry.TRIED
        return Expiry.ALL

    def begin(self, last_trace: datetime | None) -> None:
        """Wait for a steady time if `last_trace`, the last time that anybody wrote to the database, is far from now."""
        if last_trace is not None and abs(self._clock.now() - last_trace) > LONG_PAUSE:
            self._doubt("The clock shows another time than when outspool last ran")

    def compare(self, workers: Iterable[WorkerHeartbeat]) -> None:
        """Look at the clocks of the other workers, given the last heartbeat of each; call it again and again.

        One that goes on living, and shows another time, says that one of the two is wrong.
        """
        now, before = self._clock.now(), self._seen
        self._seen = {worker.name: worker.seen_at for worker in workers}
        for name, seen_at in self._seen.items():
            lives = name in before and seen_at != before[name]
            if lives and abs(now - seen_at) > JUMP + timedelta(seconds=30):
                self._doubt(f"The clock of the worker {name} shows another time than this one's")
                self._unsteady_since = self._clock.elapsed()  # steady is counted from the last contradiction
                return

    def _difference(self) -> float:
        return self._clock.now().timestamp() - self._clock.elapsed()

    def _look(self) -> None:
        difference, elapsed, most = self._difference(), self._clock.elapsed(), JUMP.total_seconds()
        if self._unsteady_since is None:
            if abs(difference - self._trusted) <= most:
                self._trusted = difference  # NTP may move it as far as it likes, little by little
                return
            self._candidate = difference
            self._doubt(f"The clock jumped by {difference - self._trusted:+,.0f} s")
        elif abs(difference - self._candidate) > most:
            if abs(difference - self._trusted) <= most:
                self._end("The clock is back where it was")
                return
            self._candidate, self._unsteady_since = difference, elapsed
        elif elapsed - self._unsteady_since >= STEADY_SECONDS:
            self._trusted = difference
            self._end("The clock has been steady for five minutes, so its time is taken to be right")

    def _doubt(self, why: str) -> None:
        if self._unsteady_since is None:
            self._unsteady_since = self._clock.elapsed()
            logger.warning("%s: until it is steady nothing expires, and no series makes an email.", why)

    def _end(self, why: str) -> None:
        self._unsteady_since, self._ended_at = None, self._clock.elapsed()
        self._candidate = self._trusted
        self.jumps += 1
        logger.warning("%s.", why)
