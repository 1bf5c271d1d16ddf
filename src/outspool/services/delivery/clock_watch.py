"""Detects that the system clock was set, and pauses expiry and series until the new time has proved steady."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from outspool.ports.clock import Clock
from outspool.ports.queue import Expiry, WorkerHeartbeat

logger = logging.getLogger(__name__)

JUMP = timedelta(minutes=1)
"""A larger change between wall clock and monotonic clock is a jump; a smaller one is NTP adjusting."""
STEADY_SECONDS = 300.0
"""After a jump the new time is trusted once it has been consistent for this long."""
GRACE_SECONDS = 3600.0
"""For this long after a jump, emails that were never attempted do not expire."""
LONG_PAUSE = timedelta(hours=1)
"""A process that starts this long after the last database write may have started with a wrong clock."""


class ClockWatch:
    """Compares the wall clock with the monotonic clock (`Clock.now` and `Clock.elapsed`), from its construction on.

    A wrong clock can expire every waiting email at once, which cannot be undone; waiting for a few minutes costs
    little. So after a jump, in either direction, nothing expires until the difference between the two clocks has been
    constant for `STEADY_SECONDS`, or is back at the last trusted value. After that, emails that were never attempted
    get `GRACE_SECONDS` to be sent. Sleep is not a jump, because both clocks advance.
    """

    def __init__(self, clock: Clock) -> None:
        """Trust the current time."""
        self._clock = clock
        self._trusted = self._candidate = self._difference()
        self._unsteady_since: float | None = None
        self._ended_at: float | None = None
        self._heartbeats: dict[str, datetime] = {}
        self.jumps = 0
        """Number of jumps that are over. `ClockRepair` runs after each."""

    def expiry(self) -> Expiry:
        """Return which emails may expire now."""
        self._check()
        if self._unsteady_since is not None:
            return Expiry.HELD
        if self._ended_at is not None and self._clock.elapsed() - self._ended_at < GRACE_SECONDS:
            return Expiry.TRIED
        return Expiry.ALL

    def begin(self, last_trace: datetime | None) -> None:
        """Distrust the clock if `last_trace`, the last write to the database, is more than `LONG_PAUSE` from now."""
        if last_trace is not None and abs(self._clock.now() - last_trace) > LONG_PAUSE:
            self._distrust("The clock shows another time than when outspool last ran")

    def compare(self, workers: Iterable[WorkerHeartbeat]) -> None:
        """Compare with the other workers' clocks by their heartbeats; call it at every heartbeat.

        If a worker that is alive (its heartbeat changed since the last call) shows another time, one of the two clocks
        is wrong, and this process distrusts its own.
        """
        now, before = self._clock.now(), self._heartbeats
        self._heartbeats = {worker.name: worker.seen_at for worker in workers}
        for name, seen_at in self._heartbeats.items():
            is_alive = name in before and seen_at != before[name]
            if is_alive and abs(now - seen_at) > JUMP + timedelta(seconds=30):
                self._distrust(f"The clock of the worker {name} shows another time than this one's")
                self._unsteady_since = self._clock.elapsed()  # count the steady time from the last mismatch
                return

    def _difference(self) -> float:
        return self._clock.now().timestamp() - self._clock.elapsed()

    def _check(self) -> None:
        difference, elapsed, tolerance = self._difference(), self._clock.elapsed(), JUMP.total_seconds()
        if self._unsteady_since is None:
            if abs(difference - self._trusted) <= tolerance:
                self._trusted = difference  # NTP may adjust it by any amount in small steps
                return
            self._candidate = difference
            self._distrust(f"The clock jumped by {difference - self._trusted:+,.0f} s")
        elif abs(difference - self._candidate) > tolerance:
            if abs(difference - self._trusted) <= tolerance:
                self._trust_again("The clock is back where it was")
                return
            self._candidate, self._unsteady_since = difference, elapsed
        elif elapsed - self._unsteady_since >= STEADY_SECONDS:
            self._trusted = difference
            self._trust_again("The clock has been steady for five minutes, so its time is taken to be right")

    def _distrust(self, reason: str) -> None:
        if self._unsteady_since is None:
            self._unsteady_since = self._clock.elapsed()
            logger.warning("%s: until it is steady nothing expires, and no series makes an email.", reason)

    def _trust_again(self, reason: str) -> None:
        self._unsteady_since, self._ended_at = None, self._clock.elapsed()
        self._candidate = self._trusted
        self.jumps += 1
        logger.warning("%s.", reason)
