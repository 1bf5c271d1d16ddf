"""A program that queues jobs with procrastinate and works them off; it runs in an environment that has procrastinate.

Arguments: database URL, port, what a job does (``nothing``, or ``send``: one email, with aiosmtplib and a connection of
its own), jobs at a time, jobs. Prints jobs per second, from the start of the first job to that of the last, and the
processor time of each in milliseconds.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import aiosmtplib
import procrastinate  # type: ignore[import-not-found,unused-ignore]

sys.path.insert(0, str(Path(__file__).parent))
from raw_smtp import message  # type: ignore[import-not-found,unused-ignore]


async def work(url: str, port: int, what: str, at_a_time: int, jobs: int) -> None:
    """Queue the jobs, then work until none is left."""
    began: list[float] = []

    async def nothing() -> None:
        began.append(time.perf_counter())

    async def send() -> None:
        began.append(time.perf_counter())
        await aiosmtplib.send(message(), hostname="127.0.0.1", port=port, start_tls=False)

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=at_a_time + 4))
    task = app.task({"nothing": nothing, "send": send}[what], name=what)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await task.batch_defer_async(*({} for _ in range(jobs)))
        used = time.process_time()
        await app.run_worker_async(concurrency=at_a_time, wait=False, install_signal_handlers=False)
        used = time.process_time() - used
    print((jobs - 1) / (began[-1] - began[0]), used * 1000 / jobs)


if __name__ == "__main__":
    url, port, what, at_a_time, jobs = sys.argv[1:]
    asyncio.run(work(url, int(port), what, int(at_a_time), int(jobs)))
