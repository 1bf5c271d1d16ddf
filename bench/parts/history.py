"""What years of old mail do to the claim, to `get_status` and to `list_emails`: the same questions at every size."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg

from bench.ground import POSTGRES, Ground
from bench.history import SPAN_DAYS, write_history
from bench.parts.queue import drain
from bench.table import Figures, Table, take_turns
from outspool.app.runtime import Outspool
from outspool.services.listing import write_cursor

Look = Callable[[Outspool], Awaitable[Any]]
BATCH = 50


async def history(ground: Ground) -> Sequence[Table]:
    """Fill a database for each size, then let the sizes take turns at every query."""
    now = datetime.now(UTC)
    async with AsyncExitStack() as stack:
        outboxes: dict[int, Outspool] = {}
        for rows in ground.scale.history:
            url = stack.enter_context(ground.database(POSTGRES))
            outboxes[rows] = await stack.enter_async_context(ground.outspool(url))
            await write_history(outboxes[rows], rows, until=now)
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


async def _looking(ground: Ground, outboxes: dict[int, Outspool], now: datetime) -> Table:
    table = Table(
        title="get_status and list_emails, by rows of history",
        note="Postgres; medians of a turn, in which the sizes alternate. A deep page begins in the middle of all mail.",
    )
    looks = {rows: _looks(await _middle(outspool, rows), now) for rows, outspool in outboxes.items()}
    contenders = {
        name: partial(_look, outboxes, {rows: looks[rows][name] for rows in outboxes}, ground.scale.looks)
        for name in looks[min(outboxes)]
    }
    return await take_turns(table, contenders, rounds=ground.scale.rounds)


def _looks(middle: UUID, now: datetime) -> dict[str, Look]:
    """Return every way to look, by its name."""
    month_ago = (now - timedelta(days=SPAN_DAYS / 3)).isoformat()
    filters: dict[str, dict[str, Any]] = {
        "no filter": {},
        "status failed": {"status": "failed"},
        "status sent": {"status": "sent"},
        "recipient": {"recipient": "user7@example.com"},
        "tag": {"tag": "tag7"},
        "query, a common word": {"query": "order"},
        "query, a rare word": {"query": "albatross"},
        "created_after": {"created_after": month_ago},
        "created_before": {"created_before": month_ago},
    }
    looks: dict[str, Look] = {"get_status": lambda outspool: outspool.outbox.get(str(middle))}
    for name, filters_ in filters.items():
        looks[f"list_emails, {name}"] = partial(_find, filters_)
        looks[f"list_emails, {name}, deep"] = partial(_find, {**filters_, "cursor": write_cursor(middle)})
    return looks


async def _find(filters: dict[str, Any], outspool: Outspool) -> None:
    await outspool.outbox.find(**filters)


async def _look(outboxes: dict[int, Outspool], looks: dict[int, Look], times: int) -> Figures:
    took: dict[int, list[float]] = {rows: [] for rows in outboxes}
    for _ in range(times):
        for rows, outspool in outboxes.items():
            began = time.perf_counter()
            await looks[rows](outspool)
            took[rows].append(time.perf_counter() - began)
    return {f"{rows_named(rows)}, ms": median(of) * 1000 for rows, of in took.items()}


async def _middle(outspool: Outspool, rows: int) -> UUID:
    connection = await asyncpg.connect(outspool.database.url)
    try:
        found: UUID = await connection.fetchval("SELECT id FROM emails ORDER BY id OFFSET $1 LIMIT 1", rows // 2)
        return found
    finally:
        await connection.close()


def rows_named(rows: int) -> str:
    """Return how tables name a size."""
    return f"{rows:,} rows"
