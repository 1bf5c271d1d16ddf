"""The clock of the database, which decides when many machines share one."""

from __future__ import annotations

from datetime import datetime, timedelta

from outspool.ports.clock import Clock

_SLOW_SECONDS = 1.0
"""An answer that took longer says little about when it was given."""
_STALE_SECONDS = 600.0
"""After so long even a slow answer is better than the last good one."""


class DatabaseClock:
    """`Clock` that shows the database's time between two looks at it; until the first it shows the machine's.

    It goes on by the time that has passed, so that nobody who sets the machine's clock moves it.
    """

    def __init__(self, machine: Clock) -> None:
        """Show the time of `machine` as long as nothing is known of the database's."""
        self.machine = machine
        self._seen: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        if self._seen is None:
            return self.machine.now()
        moment, at = self._seen
        return moment + timedelta(seconds=self.machine.elapsed() - at)

    def elapsed(self) -> float:
        """See `Clock.elapsed`."""
        return self.machine.elapsed()

    def learn(self, shown: datetime, *, asked: float, answered: float) -> None:
        """Note what the database's clock showed between two moments of `elapsed`."""
        is_slow = answered - asked > _SLOW_SECONDS
        if is_slow and self._seen is not None and answered - self._seen[1] < _STALE_SECONDS:
            return
        self._seen = shown, (asked + answered) / 2

    def skew(self) -> timedelta:
        """Return how far the machine's clock is ahead of the database's; zero before the first look."""
        return timedelta() if self._seen is None else self.machine.now() - self.now()
