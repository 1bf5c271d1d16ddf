"""The clock, and the alarm."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The wall clock, which people or NTP may set at any moment, and a monotonic clock, which nobody can."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def elapsed(self) -> float:
        """Return the seconds since some fixed moment; they also count while the machine sleeps."""
        ...


class Alarm(Protocol):
    """Calls back once, at a given time."""

    def set(self, at: datetime | None) -> None:
        """Ring at `at` (UTC) and not at the time set before; None cancels."""
        ...
