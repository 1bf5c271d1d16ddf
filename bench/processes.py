"""Programs that are measured from outside, and what they use: processor time and memory (Linux alone tells)."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
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


@contextmanager
def peak_mb(pid: int) -> Iterator[Callable[[], float]]:
    """Watch a process in the block; yield what tells the most it held, in MB of PSS, looked at every 5 ms."""
    seen, is_over = [memory_mb(pid)["PSS MB"]], threading.Event()

    def look() -> None:
        while not is_over.wait(0.005):
            seen.append(memory_mb(pid)["PSS MB"])

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield lambda: max(seen)
    finally:
        is_over.set()
        watcher.join()


def children() -> set[int]:
    """Return the ids of this process's children."""
    try:
        lists = [(task / "children").read_text() for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return set()
    return {int(pid) for children_of in lists for pid in children_of.split()}
