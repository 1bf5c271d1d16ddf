"""What partitioning by month does to the hot queries, and to the deletion of a month; see `bench.monthly`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import asyncpg

from bench.ground import BODY, EMAIL, Ground
from bench.history import SPAN_DAYS
from bench.looks import Look, every_look, look_at_each, middle_of
from bench.monthly import PARTITIONED, months, partition, write_months
from bench.parts.history import BATCH, rows_named
from bench.parts.queue import drain
from bench.table import Figures, Table, take_turns
from outspool.app.runtime import Outspool
from outspool.domain.principal import Scope
from outspool.domain.schedule import When
from outspool.services.acceptance.validation import EmailRequest

_MOST_DELETED = 100_000
"""Emails that DELETE has to take: a month of millions would take it as long in proportion."""
_WHOLE, _MONTHLY = "one table", "by month"


async def partitions(ground: Ground) -> Sequence[Table]:
    """Partition a copy of the largest history; ask both the same, then delete from both."""
    now, rows = datetime.now(UTC), max(ground.scale.history)
    url = await ground.history(rows)
    begins = months(now - timedelta(days=SPAN_DAYS + 1), now)
    urls = {_WHOLE: url, _MONTHLY: await write_months(url, begins)}
    async with AsyncExitStack() as stack:
        outboxes = {name: await stack.enter_async_context(ground.outspool(url)) for name, url in urls.items()}
        looks = {**every_look(await middle_of(outboxes[_WHOLE], rows), now), **_WRITES}
        title = f"{rows_named(rows)} in one table and partitioned by month"
        note = f"Postgres, {len(begins)} partitions; medians of a turn, in which the two alternate."
        looking = await take_turns(
            Table(title=title, note=note),
            {
                name: partial(look_at_each, outboxes, dict.fromkeys(outboxes, look), ground.scale.looks)
                for name, look in looks.items()
            },
            rounds=ground.scale.rounds,
        )
        draining = await take_turns(
            Table(title="Claim, mark, record, partitioned by month", drawn="claim p50 ms", note=f"Batches of {BATCH}."),
            {name: partial(drain, outspool, ground.scale.emails, BATCH) for name, outspool in outboxes.items()},
            rounds=ground.scale.rounds,
        )
    return looking, draining, await _deleting(urls, rows, begins)


async def _accept(outspool: Outspool) -> None:
    draft = EmailRequest(to=EMAIL["to"], subject="A figure", body=BODY)
    await outspool.outbox.accept(draft, when=When(delay="P30D"), idempotency_key=uuid4().hex)


_WRITES: Mapping[str, Look] = {
    "the email of an idempotency key": lambda outspool: outspool.store.by_key("nobody's", Scope.everything()),
    "accept, with an idempotency key": _accept,
}


async def _deleting(urls: Mapping[str, str], rows: int, begins: Sequence[datetime]) -> Table:
    table = Table(
        title="Old mail deleted, with recipients, tags and events",
        note="What DELETE leaves is for VACUUM (of `emails` alone, here) to make room of; DROP gives the disk back.",
    )
    contenders = {
        f"{_WHOLE}, DELETE of the oldest": partial(_delete, urls[_WHOLE], min(_MOST_DELETED, rows // 4)),
        f"{_MONTHLY}, DROP of a whole month": partial(_drop, urls[_MONTHLY], begins[1]),
    }
    return await take_turns(table, contenders, rounds=1)


async def _delete(url: str, count: int) -> Figures:
    connection = await asyncpg.connect(url)
    try:
        before = await _megabytes(connection)
        last = await connection.fetchval("SELECT id FROM emails ORDER BY id OFFSET $1 LIMIT 1", count)
        began = time.perf_counter()
        await connection.execute("DELETE FROM emails WHERE id < $1", last)
        deleted = time.perf_counter()
        await connection.execute("VACUUM emails")
        return {
            "emails": count,
            "seconds": deleted - began,
            "seconds of VACUUM": time.perf_counter() - deleted,
            "MB given back": before - await _megabytes(connection),
        }
    finally:
        await connection.close()


async def _drop(url: str, month: datetime) -> Figures:
    connection = await asyncpg.connect(url)
    try:
        names = [partition(table, month) for table in PARTITIONED]
        before = await _megabytes(connection)
        count = await connection.fetchval(f"SELECT count(*) FROM {names[0]}")  # noqa: S608 - a name of ours
        began = time.perf_counter()
        await connection.execute(f"DROP TABLE {', '.join(names)}")
        seconds = time.perf_counter() - began
        return {"emails": count, "seconds": seconds, "MB given back": before - await _megabytes(connection)}
    finally:
        await connection.close()


async def _megabytes(connection: asyncpg.Connection[asyncpg.Record]) -> float:
    size: int = await connection.fetchval("SELECT pg_database_size(current_database())")
    return size / 2**20
