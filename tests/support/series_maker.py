"""A process that makes what is due by the times it is told: ``python -m support.series_maker``.

Its settings come from its variables. It reads a time from each line of its input, and answers with the time when it
has made what was due, so that it can be killed anywhere in between.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Self

from outspool.app.runtime import Outspool
from outspool.settings import Settings


class SeriesMaker:
    """Such a process."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Start it."""
        paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**variables, "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        command = [sys.executable, "-m", "support.series_maker"]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it for good."""
        self.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def tell(self, now: datetime) -> None:
        """Tell it the time, and do not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{now.isoformat()}\n")

    def make_due(self, now: datetime) -> None:
        """Tell it the time, and wait until it has made what is due."""
        assert self._process.stdout is not None
        self.tell(now)
        assert self._process.stdout.readline() == f"{now.isoformat()}\n", "it has ended"

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(10)


async def _serve() -> None:
    outspool = Outspool(Settings.load())
    async with outspool.running(worker=False):
        while line := await asyncio.to_thread(sys.stdin.readline):
            await outspool.occurrences.make_due(now=datetime.fromisoformat(line.strip()))
            print(line, end="", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve())
