"""Every way to look at the outbox, asked of several databases in turn."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg

from bench.history import SPAN_DAYS
from bench.table import Figures
from outspool.app.runtime import Outspool
from outspool.services.acceptance.listing import write_cursor

Look = Callable[[Outspool], Awaitable[Any]]


def every_look(middle: UUID, now: datetime) -> dict[str, Look]:
    """Return `get_status`, and `list_emails` by each filter, by their names; `middle` is in the middle of all mail."""
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


async def look_at_each(outboxes: Mapping[str, Outspool], looks: Mapping[str, Look], times: int) -> Figures:
    """Ask each outbox so many times, one after another; return the medians by the outboxes' names."""
    took: dict[str, list[float]] = {name: [] for name in outboxes}
    for _ in range(times):
        for name, outspool in outboxes.items():
            began = time.perf_counter()
            await looks[name](outspool)
            took[name].append(time.perf_counter() - began)
    return {f"{name}, ms": median(of) * 1000 for name, of in took.items()}


async def middle_of(outspool: Outspool, rows: int) -> UUID:
    """Return the id in the middle of `rows` emails."""
    connection = await asyncpg.connect(outspool.database.url)
    try:
        found: UUID = await connection.fetchval("SELECT id FROM emails ORDER BY id OFFSET $1 LIMIT 1", rows // 2)
        return found
    finally:
        await connection.close()
