"""A clock for tests that runs many times faster than the machine's, alike in every process, and can be set wrong.

::

    dial = ClockDial.create(folder / "clock", speed=30)     # by whoever directs the test
    clock = FastClock(folder / "clock", hand=3)             # in any process
    dial.step(3, 600)                                       # that process's clock is ten minutes fast from now on
    dial.warp(3600)                                         # an hour passes at once, for everybody

Times start at the machine's own when the dial is made, and `CLOCK_MONOTONIC` keeps all processes in step.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

HANDS = 64
"""How many clocks one dial has."""

_DOUBLE = struct.Struct("d")
_SPEED, _BEGAN, _EPOCH, _WARP, _FIRST_HAND = (position * _DOUBLE.size for position in range(5))
_SIZE = _FIRST_HAND + HANDS * _DOUBLE.size


class FastClock:
    """`outspool.ports.clock.Clock` as one hand of a dial; all that it reads lies in a few bytes of shared memory."""

    def __init__(self, dial: Path, *, hand: int) -> None:
        """Read `dial`, which a `ClockDial` made."""
        with dial.open("rb") as file:
            self._dial = mmap.mmap(file.fileno(), _SIZE, prot=mmap.PROT_READ)
        self._hand = _FIRST_HAND + hand * _DOUBLE.size

    def now(self) -> datetime:
        """Return the current time of this hand, aware, in UTC."""
        return datetime.fromtimestamp(self._at(_EPOCH) + self.elapsed() + self._at(self._hand), UTC)

    def elapsed(self) -> float:
        """Return how many seconds have passed by the dial, for whoever does not trust a hand that may be set."""
        return (time.monotonic() - self._at(_BEGAN)) * self._at(_SPEED) + self._at(_WARP)

    def _at(self, place: int) -> float:
        value: float = _DOUBLE.unpack_from(self._dial, place)[0]
        return value


class ClockDial:
    """The one who sets the clocks. Hand 0 is never set wrong: it shows the true time."""

    def __init__(self, path: Path, *, speed: float) -> None:
        """Make the file `path`; from now on `speed` seconds pass in each real one."""
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._dial = mmap.mmap(file.fileno(), _SIZE)
        self.path = path
        self.speed = speed
        for place, value in ((_SPEED, speed), (_BEGAN, time.monotonic()), (_EPOCH, time.time())):
            self._put(place, value)
        self._true = FastClock(path, hand=0)

    def __enter__(self) -> Self:
        """Return the dial."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the memory; clocks of other processes go on."""
        self._dial.close()

    def now(self) -> datetime:
        """Return the true time."""
        return self._true.now()

    def step(self, hand: int, seconds: float) -> None:
        """Set one hand so many seconds fast (or, negative, slow); 0 sets it right."""
        self._put(_FIRST_HAND + hand * _DOUBLE.size, seconds)

    def right_all(self) -> None:
        """Set every hand right."""
        for hand in range(HANDS):
            self.step(hand, 0)

    def warp(self, span: timedelta) -> None:
        """Let `span` pass at once for everybody."""
        passed: float = _DOUBLE.unpack_from(self._dial, _WARP)[0]
        self._put(_WARP, passed + span.total_seconds())

    def _put(self, place: int, value: float) -> None:
        _DOUBLE.pack_into(self._dial, place, value)
