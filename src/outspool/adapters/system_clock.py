"""The operating system's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

# Linux stops CLOCK_MONOTONIC, and with it the event loop, while a laptop's lid is closed; macOS stops what
# `time.monotonic` reads and not CLOCK_MONOTONIC; Windows has one clock, which goes on.
_STEADY: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def time_since_start() -> float:
    """Return the seconds since the machine started, including sleep."""
    return time.monotonic() if _STEADY is None else time.clock_gettime(_STEADY)


class SystemClock:
    """The `Clock` port by the operating system."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """See `Clock.elapsed`."""
        return time_since_start()
