"""A clock that a test can set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from outspool.adapters.system_clock import SystemClock


class SetClock(SystemClock):
    """`outspool.ports.clock.Clock` that runs as the machine's does, from where it was put."""

    def __init__(self) -> None:
        """Agree with the machine."""
        self._wrong = timedelta()
        self._passed = timedelta()

    def now(self) -> datetime:
        """Return the time that this clock shows."""
        return datetime.now(UTC) + self._wrong + self._passed

    def elapsed(self) -> float:
        """Return the seconds that passed, those let pass by `pass_by` too; a `step` is none."""
        return super().elapsed() + self._passed.total_seconds()

    def step(self, span: timedelta) -> None:
        """Set it forward, or back, as a person or NTP does: it shows another time, and none has passed."""
        self._wrong += span

    def pass_by(self, span: timedelta) -> None:
        """Let so much time pass at once."""
        self._passed += span
