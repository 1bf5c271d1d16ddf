"""What years of old mail do to the claim, to `get_status` and to `list_emails`: the same questions at every size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

from bench.ground import POSTGRES, Ground
from bench.history import write_history
from bench.looks import every_look, look_at_each, middle_of
from bench.parts.queue import drain
from bench.table import Table, take_turns
from outspool.app.runtime import Outspool

BATCH = 50


async def history(ground: Ground) -> Sequence[Table]:
    """Fill a database for each size, then let the sizes take turns at every query."""
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        outboxes: dict[int, Outspool] = {}
        for rows in ground.scale.history:
            url = await _filled(ground, rows, stack)
            outboxes[rows] = await stack.enter_async_context(ground.outspool(url))
        looking = await _looking(ground, outboxes, now)
        draining = await take_turns(
            Table(
                title="Claim, mark, record, by rows of history",
                drawn="claim p50 ms",
                note=f"Postgres, batches of {BATCH}.",
            ),
            {
                rows_named(rows): partial(drain, outspool, ground.scale.emails, BATCH)
                for rows, outspool in outboxes.items()
            },
            rounds=ground.scale.rounds,
        )
    return looking, draining


async def _filled(ground: Ground, rows: int, stack: AsyncExitStack) -> str:
    """Return a database of that size; only the largest, which another part asks for, outlives this one."""
    if rows == max(ground.scale.history):
        return await ground.history(rows)
    url = stack.enter_context(ground.database(POSTGRES))
    async with ground.outspool(url) as outspool:
        await write_history(outspool, rows, until=datetime.now(UTC))
    return url


async def _looking(ground: Ground, outboxes: dict[int, Outspool], now: datetime) -> Table:
    table = Table(
        title="get_status and list_emails, by rows of history",
        note="Postgres; medians of a turn, in which the sizes alternate. A deep page begins in the middle of all mail.",
    )
    named = {rows_named(rows): outspool for rows, outspool in outboxes.items()}
    looks = {rows_named(rows): every_look(await middle_of(outspool, rows), now) for rows, outspool in outboxes.items()}
    contenders = {
        look: partial(look_at_each, named, {name: looks[name][look] for name in named}, ground.scale.looks)
        for look in next(iter(looks.values()))
    }
    return await take_turns(table, contenders, rounds=ground.scale.rounds)


def rows_named(rows: int) -> str:
    """Return how tables name a size."""
    return f"{rows:,} rows"
