"""The SMTP sink of the benchmark, in a process of its own; see `sink_server`."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

_SERVER = Path(__file__).with_name("sink_server.py")
_LONGEST_ANSWER = 1 << 28


@dataclass(frozen=True, slots=True)
class Taken:
    """One message: when its ``MAIL FROM`` and its final dot came (seconds since the epoch), to whom, how large."""

    mail_at: float
    taken_at: float
    recipient: str
    size: int


class Sink:
    """Takes every message on ``host:port`` and counts."""

    host = "127.0.0.1"

    def __init__(self, process: Process, port: int) -> None:
        """See `running_sink`."""
        self._process = process
        self.port = port

    async def clear(self) -> None:
        """Forget what was taken."""
        await self._ask("clear")

    async def wait_for(self, count: int, *, max_wait: float) -> list[Taken]:
        """Return what was taken, in order, once that is `count` messages; `TimeoutError` after so many seconds."""
        async with asyncio.timeout(max_wait):
            answer = await self._ask(f"wait {count}")
        return [Taken(*message) for message in json.loads(answer)]

    async def _ask(self, order: str) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{order}\n".encode())
        return await self._process.stdout.readline()


@asynccontextmanager
async def running_sink() -> AsyncIterator[Sink]:
    """Run a sink until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_SERVER), stdin=PIPE, stdout=PIPE, limit=_LONGEST_ANSWER
    )
    assert process.stdout is not None
    try:
        yield Sink(process, int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


def rate(taken: Sequence[Taken]) -> float:
    """Return messages per second from the first to the last: starting and connecting do not count."""
    return (len(taken) - 1) / max(taken[-1].taken_at - taken[0].taken_at, 1e-9)
