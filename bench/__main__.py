"""The command line: run parts, show what they found, and keep it in RESULTS.md.

::

    python -m bench                     every part, in full (an hour)
    python -m bench accept start        some parts
    python -m bench --smoke             every part in miniature, nothing kept: does it run?
    python -m bench report              RESULTS.md again from the figures of the last runs

Not a test: a slow machine fails nothing. The exit status is 1 when a contender of ours broke down.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bench import report
from bench.ground import SMOKE, Ground, Scale, ground
from bench.machine import load, machine
from bench.parts import PARTS
from bench.results import Run, keep, read_runs

_REMEMBERED = 1000


def main() -> int:
    """Do what the command line says."""
    options = _options()
    # As Ctrl-C: what was started for the run, databases and servers, ends with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.parts == ["report"]:
        print(report.write(read_runs(), tuple(PARTS)))
        return 0
    began = time.perf_counter()
    runs = asyncio.run(_run(options.parts or list(PARTS), _scale(options), shows_only=options.smoke))
    failed = [f"{table.title}: {name}" for run in runs for table in run.tables for name in table.failed]
    sys.stderr.write(f"Took {time.perf_counter() - began:.0f} s; {len(failed)} failed.\n")
    return 1 if failed else 0


async def _run(parts: Sequence[str], scale: Scale, *, shows_only: bool) -> list[Run]:
    runs = []
    async with ground(scale) as here:
        described = await machine(here.postgres.url(), here.folder)
        for part in parts:
            sys.stderr.write(f"{part} ...\n")
            runs.append(await _one(part, here, described))
            print("\n\n".join(map(report.text, runs[-1].tables)), end="\n\n", flush=True)
            if not shows_only:
                report.write(keep(runs), tuple(PARTS))
    return runs


async def _one(part: str, here: Ground, described: dict[str, str]) -> Run:
    busy, began = load(), time.perf_counter()
    tables = await PARTS[part](here)
    seconds = time.perf_counter() - began
    sys.stderr.write(f"{part} took {seconds:.0f} s\n")
    return Run(
        part=part,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        seconds=seconds,
        load=busy,
        machine=described,
        tables=tuple(tables),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What outspool costs, beside its rivals.")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[*PARTS, "report", []], help=", ".join(PARTS))
    parser.add_argument("--smoke", action="store_true", help="every part in miniature; nothing is kept")
    parser.add_argument("--rows", type=int, help="the largest history; 10,000,000 if not given (25 GB of disk)")
    parser.add_argument("--emails", type=int, help="emails sent before memory is looked at the last time")
    return parser.parse_args()


def _scale(options: argparse.Namespace) -> Scale:
    scale = SMOKE if options.smoke else Scale()
    if options.rows:
        sizes = [size for size in scale.history if size < options.rows]
        scale = replace(scale, history=(*sizes, options.rows))
    if options.emails:
        scale = replace(scale, remembered=tuple(sorted({min(_REMEMBERED, options.emails), options.emails})))
    return scale


if __name__ == "__main__":
    sys.exit(main())
