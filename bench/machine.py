"""On what the figures were taken: the machine and the versions; no names, no paths."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import asyncpg

_PACKAGES = ("outspool", "mcp", "pydantic", "sqlalchemy", "asyncpg", "aiosmtplib", "apscheduler")


async def machine(postgres_url: str, folder: Path) -> dict[str, str]:
    """Return what there is to say, by what it is about."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "disk": f"4 KB appended and synced in {_fsync(folder):.2f} ms (median of 100)",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Postgres": await _postgres(postgres_url),
        "SQLite": f"{sqlite3.sqlite_version}, WAL, synchronous=FULL",
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }


def load() -> str:
    """Say how many programs wanted to run, on average of the last minute: more than cores spoil every figure."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "not known"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "not known")


def _memory() -> str:
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):
        return "not known"
    return f"{pages / 2**30:.0f} GB"


def _fsync(folder: Path) -> float:
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return median(times) * 1000


async def _postgres(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
        number, *settings = [f"{await connection.fetchval('SELECT current_setting($1)', name)}" for name in names]
    finally:
        await connection.close()
    return f"{number}, " + ", ".join(f"{name} {value}" for name, value in zip(names[1:], settings, strict=True))
