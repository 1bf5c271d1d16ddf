"""A worker that stops itself (SIGSTOP) the first time it comes to a given point of a delivery; settings by environment.

::

    python stalling_worker.py claimed|marking|marked

``claimed``: after the claim is committed; ``marking``: when it asks for the mark; ``marked``: when the mark is
committed, the instant before ``DATA``. Somebody else must let it go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Any

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.cli.runs import configure_logging, stop_on_signals
from outspool.services.delivery.timings import Timings

PACE = Timings(lease=timedelta(seconds=2), beat_seconds=30, poll_seconds=0.2)
"""No heartbeat comes while the test runs: on SQLite a worker stopped within one would stop everybody."""


class Stall:
    """Stops this process, once."""

    def __init__(self) -> None:
        """Be ready."""
        self._is_over = False

    def __call__(self) -> None:
        """Stop now, unless it has been done."""
        if not self._is_over:
            self._is_over = True
            os.kill(os.getpid(), signal.SIGSTOP)


def plant(app: Outspool, point: str) -> None:
    """Let `app` stop at that point."""
    stall, claim_due, mark = Stall(), app.queue.claim_due, app.queue.mark

    async def claim_and_stall(*args: Any, **more: Any) -> Any:
        claimed = await claim_due(*args, **more)
        if claimed and point == "claimed":
            stall()
        return claimed

    async def mark_and_stall(*args: Any, **more: Any) -> bool:
        if point == "marking":
            stall()
        is_marked = await mark(*args, **more)
        if is_marked and point == "marked":
            stall()
        return is_marked

    app.queue.claim_due = claim_and_stall  # type: ignore[method-assign]
    app.queue.mark = mark_and_stall  # type: ignore[method-assign]


async def main(point: str) -> None:
    """Work until told to stop."""
    stop = stop_on_signals()
    app = Outspool(Settings.load(), timings=PACE)
    plant(app, point)
    async with app.run(worker=True):
        await stop.wait()


if __name__ == "__main__":
    configure_logging(is_worker=True)
    asyncio.run(main(sys.argv[1]))
