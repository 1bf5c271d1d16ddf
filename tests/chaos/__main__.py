"""Runs seeded trials, several at a time, and reports broken promises: ``python -m chaos --help``."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from chaos.generator import scenario
from chaos.report import Tally, describe
from chaos.scenario import Scenario
from chaos.series import run_series
from chaos.trial import Result

_RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Exit with status 1 when a promise was broken."""
    asked = _arguments()
    tally = asyncio.run(_run(asked))
    _say(tally.table())
    if asked.write and asked.seed is None:
        _RESULTS.write_text(tally.document())
    sys.exit(1 if tally.violations or tally.broken else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description="Faults on real processes, and a checker that counts.")
    parser.add_argument("--trials", type=int, default=1000, help="how many, with the seeds 1, 2, 3, …")
    parser.add_argument("--first", type=int, default=1, help="the first seed, if not 1")
    parser.add_argument("--seed", type=int, help="replay this one, and say what happens in words")
    parser.add_argument("--jobs", type=int, default=6, help="trials at a time")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--keep", type=Path, help="where to keep what violations leave behind")
    parser.add_argument("--write", action="store_true", help=f"write the table to {_RESULTS.name} too")
    return parser.parse_args()


async def _run(asked: argparse.Namespace) -> Tally:
    seeds = [asked.seed] if asked.seed is not None else range(asked.first, asked.first + asked.trials)
    keep = asked.keep or Path(tempfile.gettempdir()) / "outspool-chaos-violations"
    scenarios = [scenario(seed, database=asked.database) for seed in seeds]
    tally = Tally(len(scenarios))

    def tell(result: Result) -> None:
        tally.add(result)
        if result.violations:
            _say(f"\n{result.scenario}\n{describe(result)}\n  kept in {keep}/seed-{result.scenario.seed}")
        _say(tally.progress(result))

    def cannot_tell(plan: Scenario, why: str) -> None:
        tally.broken += 1
        _say(f"\n{plan}\nCOULD NOT BE JUDGED\n{why}")

    if asked.seed is not None:
        _say(str(scenarios[0]))
    await run_series(scenarios, jobs=asked.jobs, tell=tell, cannot_tell=cannot_tell, keep=keep)
    return tally


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
