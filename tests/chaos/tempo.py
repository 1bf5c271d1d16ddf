"""The time scale of a trial: stretched on a busy machine.

Every wait of a trial is stretched by the same factor, outspool's intervals included, so that a worker with a tenth of a
processor does not lose its lease without a fault to explain it.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field

_ROOM = 3.0
"""Runnable programs per processor that still leave each enough: the trials themselves are some."""


def stretch() -> float:
    """Return how many real seconds one second of a trial should take on this machine now, 1 at the least."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / _ROOM)


@dataclass(frozen=True, slots=True)
class Tempo:
    """How time passes in one trial, alike in all its processes: `began` is on their common monotonic clock."""

    stretch: float
    began: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Return how many of its seconds the trial has lasted."""
        return (time.monotonic() - self.began) / self.stretch

    async def rest(self, seconds: float) -> None:
        """Wait for so many seconds of the trial."""
        await asyncio.sleep(seconds * self.stretch)

    async def until(self, moment: float) -> None:
        """Wait until the trial has lasted so many of its seconds."""
        await asyncio.sleep(max(0.0, self.began + moment * self.stretch - time.monotonic()))
