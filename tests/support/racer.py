"""A process that races others into one outbox: ``python -m support.racer COUNT [KEY]``, settings from the environment.

It says ``ready``, waits for a line, asks for COUNT emails at once, and prints a line for each: its id, or the code of
the error. With KEY every one of them carries that idempotency key.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.errors import OutspoolError
from outspool.services.acceptance.validation import EmailRequest


async def _ask(outspool: Outspool, key: str | None) -> str:
    try:
        email = await outspool.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"), idempotency_key=key)
    except OutspoolError as error:
        return error.code
    return str(email.id)


async def _race(count: int, key: str | None) -> None:
    outspool = Outspool(Settings.load())
    async with outspool.run(worker=False):
        await outspool.outbox.find()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        print(*await asyncio.gather(*(_ask(outspool, key) for _ in range(count))), sep="\n", flush=True)


def race(variables: Mapping[str, str], *, processes: int, count: int, key: str | None = None) -> list[str]:
    """Let so many processes ask for `count` emails each at the same instant; return every answer."""
    command = [sys.executable, "-m", "support.racer", str(count), *([key] if key else [])]
    environment = {**variables, "PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent)}
    racers = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        _begin(racers)
        answers = [racer.communicate(timeout=60)[0].split() for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    return [answer for of_one in answers for answer in of_one]


def _begin(racers: Sequence[subprocess.Popen[str]]) -> None:
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()


if __name__ == "__main__":
    asyncio.run(_race(int(sys.argv[1]), sys.argv[2] if sys.argv[2:] else None))
