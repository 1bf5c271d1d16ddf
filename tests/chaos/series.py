"""Runs many trials, several at a time, each in its own place."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from chaos.place import Place, open_place
from chaos.scenario import Scenario
from chaos.trial import Result, run_trial
from support.zygote import Zygote


async def run_series(
    scenarios: Sequence[Scenario],
    *,
    jobs: int,
    tell: Callable[[Result], None],
    cannot_tell: Callable[[Scenario, str], None],
    keep: Path | None = None,
) -> None:
    """Run every scenario, `jobs` at a time, and `tell` of each when it is over.

    A trial that fails by itself, and so cannot be judged, ends no other: `cannot_tell` gets its traceback.
    """
    left = iter(scenarios)
    needs_postgres = any(scenario.database == "postgres" for scenario in scenarios)
    async with _places(min(jobs, len(scenarios)), with_postgres=needs_postgres) as places, asyncio.TaskGroup() as group:
        for place in places:
            group.create_task(_run(place, left, tell, cannot_tell, keep))


async def _run(
    place: Place,
    left: Iterator[Scenario],
    tell: Callable[[Result], None],
    cannot_tell: Callable[[Scenario, str], None],
    keep: Path | None,
) -> None:
    for scenario in left:
        try:
            result = await run_trial(scenario, place, keep=keep)
        except Exception:  # noqa: BLE001 - whatever it is, the others go on
            cannot_tell(scenario, traceback.format_exc())
        else:
            tell(result)


@asynccontextmanager
async def _places(number: int, *, with_postgres: bool) -> AsyncIterator[list[Place]]:
    async with AsyncExitStack() as stack:
        zygote = await stack.enter_async_context(Zygote("chaos.roles"))
        # One after the other: Alembic migrates one database at a time in a process.
        opened = [open_place(zygote, with_postgres=with_postgres) for _ in range(number)]
        yield [await stack.enter_async_context(place) for place in opened]
