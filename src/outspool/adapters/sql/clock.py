"""The database's clock: the reference when several machines share a database."""

from __future__ import annotations

from datetime import datetime, timedelta

from outspool.ports.clock import Clock

_SLOW_SECONDS = 1.0
"""A slower answer gives the time too imprecisely."""
_STALE_SECONDS = 600.0
"""After this long even a slow answer is better than the last precise one."""


class DatabaseClock:
    """A `Clock` that shows the database's time once it is known, and the machine's until then.

    Between two readings it advances with the machine's monotonic clock, so setting the machine's clock has no effect.
    """

    def __init__(self, machine: Clock) -> None:
        """Show the time of `machine` until `learn` is called."""
        self.machine = machine
        self._reading: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        if self._reading is None:
            return self.machine.now()
        moment, at = self._reading
        return moment + timedelta(seconds=self.machine.elapsed() - at)

    def elapsed(self) -> float:
        """See `Clock.elapsed`."""
        return self.machine.elapsed()

    def learn(self, database_time: datetime, *, asked_at: float, answered_at: float) -> None:
        """Note the database's time, read between two values of `elapsed`."""
        is_slow = answered_at - asked_at > _SLOW_SECONDS
        if is_slow and self._reading is not None and answered_at - self._reading[1] < _STALE_SECONDS:
            return
        self._reading = database_time, (asked_at + answered_at) / 2

    def skew(self) -> timedelta:
        """Return how far the machine's clock is ahead of the database's; zero before the first reading."""
        return timedelta() if self._reading is None else self.machine.now() - self.now()
