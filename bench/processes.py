"""Programs that are measured from outside, and what they use: processor time and memory (Linux alone tells)."""

from __future__ import annotations

import math
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PATIENCE = 30


@contextmanager
def running(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> Iterator[int]:
    """Run a program until the block ends; yield its process id. What it says goes to ``log`` in `folder`."""
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(command, env=dict(variables), cwd=folder, stdout=log, stderr=log)  # noqa: S603
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def cpu_seconds(*pids: int) -> float:
    """Return the processor time these processes have used so far; NaN where the system does not tell."""
    try:
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    except OSError:
        return math.nan
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / _TICKS


def memory_mb(pid: int) -> dict[str, float]:
    """Return what a process holds, alone (PSS: its share of what it shares) and in all (RSS), in MB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {"PSS MB": math.nan, "RSS MB": math.nan}
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return {f"{name.upper()} MB": kilobytes[name] / 1024 for name in ("Pss", "Rss")}


def children() -> set[int]:
    """Return the ids of this process's children."""
    try:
        lists = [(task / "children").read_text() for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return set()
    return {int(pid) for children_of in lists for pid in children_of.split()}
