"""What one email of 4 KB costs a Postgres database: room, and write-ahead log; its text cannot be compressed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial

import asyncpg

from bench.ground import EMAIL, POSTGRES, Ground
from bench.history import execute
from bench.parts.queue import drain_due
from bench.table import Figures, Table, take_turns
from outspool.services.acceptance.validation import EmailRequest

_BATCH = 50
_CHARACTERS = 4000
_TABLES = ("emails", "recipients", "events", "readings")


async def footprint(ground: Ground) -> Sequence[Table]:
    """Accept emails and take them through claim, mark and record; look at what that wrote and left."""
    table = Table(
        title="What a 4 KB email costs the database",
        note="Postgres, per email, indexes included; `readings` keep the rate limit and go after an hour.",
    )
    return [await take_turns(table, {"one recipient, sent at once": partial(_weigh, ground)}, rounds=1)]


async def _weigh(ground: Ground) -> Figures:
    emails = max(ground.scale.emails // _BATCH, 1) * _BATCH
    with ground.database(POSTGRES) as url:
        connection = await asyncpg.connect(url)
        try:
            async with ground.outspool(url) as outspool:
                await outspool.outbox.find()  # the tables are there
                began = await _log_written(connection)
                for _ in range(emails // _BATCH):
                    drafts = [EmailRequest(to=EMAIL["to"], subject="A figure", body=_text()) for _ in range(_BATCH)]
                    await asyncio.gather(*map(outspool.outbox.accept, drafts))
                accepted = await _log_written(connection)
                await drain_due(outspool, emails, _BATCH)
                sent = await _log_written(connection)
                await execute(url, "VACUUM FULL")
                sizes = {
                    f"{name} B": await connection.fetchval("SELECT pg_total_relation_size($1::regclass)", name) / emails
                    for name in _TABLES
                }
        finally:
            await connection.close()
    return {
        "B in all": sum(sizes.values()),
        **sizes,
        "B of WAL to accept": (accepted - began) / emails,
        "B of WAL to send": (sent - accepted) / emails,
    }


async def _log_written(connection: asyncpg.Connection[asyncpg.Record]) -> float:
    return float(await connection.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))


def _text() -> str:
    letters = random.choices("etaoin shrdlu cmfwyp", k=_CHARACTERS)  # noqa: S311 - no secret
    return "".join(letters)
