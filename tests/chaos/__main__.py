"""Runs seeded trials, several at a time, and says which promise was broken, if any: ``python -m chaos --help``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from chaos.generator import scenario
from chaos.place import Place, open_place
from chaos.report import Tally, describe
from chaos.trial import Result, run_trial
from support.zygote import Zygote

_RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Exit with status 1 when a promise was broken."""
    asked = _arguments()
    tally = asyncio.run(_run(asked))
    _say(tally.table())
    if asked.write:
        _RESULTS.write_text(tally.document())
    sys.exit(1 if tally.violations or tally.broken else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Faults on real processes, and a checker that counts.")
    parser.add_argument("--trials", type=int, default=1000, help="how many, with the seeds 1, 2, 3, …")
    parser.add_argument("--first", type=int, default=1, help="the first seed, if not 1")
    parser.add_argument("--seed", type=int, help="replay this one, and say what happens in words")
    parser.add_argument("--jobs", type=int, default=5, help="trials at a time")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--keep", type=Path, help="where to keep what violations leave behind")
    parser.add_argument("--write", action="store_true", help=f"write the table to {_RESULTS.name} too")
    return parser.parse_args()


async def _run(asked: argparse.Namespace) -> Tally:
    seeds = [asked.seed] if asked.seed is not None else range(asked.first, asked.first + asked.trials)
    keep = asked.keep or Path(tempfile.gettempdir()) / "outspool-chaos-violations"
    tally = Tally(len(seeds))
    left = iter(seeds)
    async with AsyncExitStack() as stack:
        zygote = await stack.enter_async_context(Zygote("chaos.roles"))
        # One after the other: Alembic migrates one database at a time in a process.
        jobs = range(min(asked.jobs, len(seeds)))
        places = [await stack.enter_async_context(open_place(zygote)) for _ in jobs]
        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(_work(place, left, tally, asked.database, keep))
    return tally


async def _work(place: Place, seeds: Iterator[int], tally: Tally, database: str, keep: Path) -> None:
    for seed in seeds:
        plan = scenario(seed, database=database)
        if tally.total == 1:
            _say(str(plan))
        try:
            result = await run_trial(plan, place, keep=keep)
        except Exception:  # noqa: BLE001 - one trial that cannot be judged must not end the others
            tally.broken += 1
            _say(f"\n{plan}\nCOULD NOT BE JUDGED\n{traceback.format_exc()}")
        else:
            tally.add(result)
            _tell(result, tally, keep)


def _tell(result: Result, tally: Tally, keep: Path) -> None:
    if result.violations:
        _say(f"\n{result.scenario}\n{describe(result)}\n  kept in {keep}/seed-{result.scenario.seed}")
    _say(tally.progress(result))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
