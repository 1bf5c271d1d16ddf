"""What tells the time, and what wakes who waits for it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time, which a person or NTP may set at any moment, and how much time has passed, which nobody can."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def elapsed(self) -> float:
        """Return the seconds since some fixed moment; they pass evenly, also while the machine sleeps."""
        ...


class Alarm(Protocol):
    """Rings once, at a time."""

    def set(self, at: datetime | None) -> None:
        """Ring at `at` (UTC) instead of whatever was set before; None: do not ring."""
        ...
