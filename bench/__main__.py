"""What outspool costs, beside the least it could cost: run every measure in turn and print what it found.

Programs in processes of their own, real files, a real SMTP server. Not a test: a slow machine fails nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from bench.figures import Row, percentile, readable, table
from bench.measures import ALL
from bench.place import Place, since
from support.smtp_sink import SmtpSink

NOTES = """\
Medians (least to greatest); both sides of a ratio took turns. Where these lie far apart the machine was busy.
Start: the queue is opened after the handshake; the first answer is what a client waits for in all.
Queue: on SQLite. The SMTP server is a Python program too (aiosmtpd), and the limit of what aiosmtplib reaches; where
outspool stays far below, the limit is outspool. Its budget is set on Postgres beside other queues: not measured here.
Due: until the server has the whole message, a little after MAIL FROM. Of 20 emails, p99 is the latest."""


def main() -> None:
    """Print the machine, then the table."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="outspool-bench-") as name:
        print(_machine(Path(name)), flush=True)
        rows = asyncio.run(_measure(Path(name)))
    print(f"\n{table(rows)}\n\n{NOTES}\nTook {since(began) / 1000:.0f} s; {_load()}.")


async def _measure(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for name in ("smtp", *(measure.__name__ for measure in ALL)):
        (folder / name).mkdir()
    with SmtpSink(folder / "smtp") as sink:
        for measure in ALL:
            sys.stderr.write(f"{measure.__name__.replace('_', ' ')} ...\n")
            rows += await measure(Place(folder / measure.__name__, sink))
    return rows


def _machine(folder: Path) -> str:
    """Say on what the figures were taken, and how busy that was."""
    versions = [f"{name} {version(name)}" for name in ("outspool", "mcp", "sqlalchemy", "aiosmtplib")]
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_load()}, fsync {_fsync(folder)}"
    return ", ".join([*versions, f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}", where])


def _load() -> str:
    """Say how busy the machine is: more runnable programs than cores spoil every figure."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load not known"


def _fsync(folder: Path) -> str:
    """Measure how fast the disk confirms 4 KB: a durable commit cannot be faster."""
    times = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(since(began))
    return f"{readable(percentile(times, 0.5))} ms"


if __name__ == "__main__":
    main()
