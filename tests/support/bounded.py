"""Runs a function in its own process, so that it cannot harm the test by crashing or using memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Cost:
    """What one call took: CPU `seconds` and, in MB, how far the peak of memory rose; and what it returned."""

    seconds: float
    megabytes: float
    returned: Any


def run_bounded(function: str, inputs: list[Any], *, memory_mb: int = 2000, timeout: float = 60) -> list[Cost]:
    """Call `function` ("module:name") with each of `inputs` in turn, in one process; return what each took.

    Fails when the process dies: no input may do that to it.
    """
    done = subprocess.run(
        [sys.executable, __file__, function, str(memory_mb)],
        input=json.dumps(inputs),
        capture_output=True,
        text=True,
        timeout=timeout,
        env={"PYTHONPATH": ":".join([str(Path(__file__).parents[1]), *sys.path])},
        check=False,
    )
    assert done.returncode == 0, f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
    costs = [Cost(*one) for one in json.loads(done.stdout)]
    assert len(costs) == len(inputs)
    return costs


def _main() -> None:
    from importlib import import_module

    module, _, name = sys.argv[1].partition(":")
    limit = int(sys.argv[2]) * _MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    function = getattr(import_module(module), name)
    costs = []
    for one in json.load(sys.stdin):
        before, start = _peak_mb(), time.process_time()
        try:
            returned = function(one)
        except Exception as error:  # noqa: BLE001 - the test says which are right
            returned = f"{type(error).__name__}: {str(error)[:200]}"
        costs.append((time.process_time() - start, _peak_mb() - before, returned))
    json.dump(costs, sys.stdout)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (_MEGABYTE if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    _main()
