"""Postgres sessions are ended repeatedly: callers read what happened, in no driver's words."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
from support.outbox_samples import EVERYTHING, an_email, outlet

from outspool.errors import StoreUnavailable
from outspool.ports.emails import Search

_KILL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outspool' AND datname = $1"


async def test_whatever_a_session_that_was_ended_was_at_the_caller_reads_one_sentence(postgres_url: str) -> None:
    said: Counter[str] = Counter()
    done = asyncio.Event()

    async with outlet(postgres_url) as box:
        await box.accept(an_email())

        async def work(n: int) -> None:
            while not done.is_set():
                try:
                    if n % 2:
                        await box.accept(an_email())
                    else:
                        await box.store.find(Search(), EVERYTHING)
                except StoreUnavailable as error:
                    said[error.message] += 1

        working = [asyncio.create_task(work(n)) for n in range(20)]
        killer = await asyncpg.connect(postgres_url)
        for _ in range(60):
            await killer.execute(_KILL, postgres_url.rpartition("/")[2])
            await asyncio.sleep(0.03)
        await killer.close()
        done.set()
        await asyncio.gather(*working)
        await box.accept(an_email())
    assert said
    assert set(said) == {"The database closed the connection, as when it restarts."}, said
