"""What the database part of a delivery costs: claim, mark and record, by the size of the batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from uuid import uuid4

import asyncpg

from bench.ground import BODY, EMAIL, POSTGRES, SQLITE, Ground
from bench.stock import stock
from bench.table import Figures, Table, latencies, take_turns
from outspool.app.runtime import Outspool
from outspool.domain.email import Email, Reply
from outspool.domain.principal import Scope
from outspool.domain.status import RecipientStatus
from outspool.domain.transition import Transition
from outspool.ports.queue import Lease
from outspool.services.acceptance.validation import EmailRequest

_LEASE = timedelta(minutes=10)
_OK = Reply(code=250, enhanced_code="2.0.0", text="Ok")


async def queue(ground: Ground) -> Sequence[Table]:
    """Take queues through a dispatcher's three writes, with nobody to deliver to."""
    table = Table(
        title="Claim, mark, record",
        drawn="claim + record rows/s",
        note="Each batch is claimed by one call, then marked and recorded by one call for each email, all at once.",
    )
    contenders = {
        f"{kind}, batch {batch}": partial(_drain_new, ground, kind, batch)
        for kind in (POSTGRES, SQLITE)
        for batch in ground.scale.batches
    }
    contenders[f"{POSTGRES}, batch 50, xmin held"] = partial(_drain_new, ground, POSTGRES, 50, holds_xmin=True)
    strangers = ground.scale.strangers
    contenders |= {
        f"{kind}, batch 50, {strangers:,} due in another lane": partial(
            _drain_new, ground, kind, 50, strangers=strangers
        )
        for kind in (POSTGRES, SQLITE)
    }
    return [await take_turns(table, contenders, rounds=ground.scale.rounds)]


async def _drain_new(ground: Ground, kind: str, batch: int, *, holds_xmin: bool = False, strangers: int = 0) -> Figures:
    emails = ground.scale.emails if batch > 1 else ground.scale.emails // 10
    with ground.database(kind) as url:
        if strangers:
            async with ground.outspool(url, EMAIL_FROM="stranger@example.com") as stranger:
                await _make_due(stranger, strangers)
        async with ground.outspool(url) as outspool, _old_snapshot(url if holds_xmin else None):
            return await drain(outspool, emails, batch)


async def drain(outspool: Outspool, emails: int, batch: int) -> Figures:
    """Stock a queue and take all of it through claim, mark and record."""
    await _make_due(outspool, emails)
    return await drain_due(outspool, emails, batch)


async def _make_due(outspool: Outspool, emails: int) -> None:
    stocked = await stock(outspool, EmailRequest(to=EMAIL["to"], subject="A figure", body=BODY), emails)
    await stocked.release()


async def drain_due(outspool: Outspool, emails: int, batch: int) -> Figures:
    """Take so many emails that are due through claim, mark and record."""
    claims, marking, recording = [], 0.0, 0.0
    for _ in range(emails // batch):
        lease = Lease(token=uuid4(), until=outspool.clock.now() + _LEASE)
        began = time.perf_counter()
        claimed = await outspool.queue.claim_due(lease, now=outspool.clock.now(), limit=batch, deferred_too=True)
        claims.append(time.perf_counter() - began)
        marking += await _all(
            outspool.queue.mark(email.id, lease, at=outspool.clock.now(), recipients=1) for email in claimed
        )
        recording += await _all(
            outspool.store.record(email.id, _sent(outspool, email), Scope.everything(), lease=lease.token)
            for email in claimed
        )
    rows, claiming = len(claims) * batch, sum(claims)
    return {
        "claim + record rows/s": rows / (claiming + recording),
        "claim + mark + record rows/s": rows / (claiming + marking + recording),
        **{f"claim {name}": figure for name, figure in latencies(claims).items()},
        "mark ms each": marking * 1000 / rows,
        "record ms each": recording * 1000 / rows,
    }


async def _all(writes: Iterable[Awaitable[bool]]) -> float:
    began = time.perf_counter()
    if not all(await asyncio.gather(*writes)):
        raise RuntimeError("a write of ours was refused")
    return time.perf_counter() - began


def _sent(outspool: Outspool, email: Email) -> Transition:
    taken = tuple(replace(r, status=RecipientStatus.SENT, reply=_OK) for r in email.recipients)
    return Transition.sent(at=outspool.clock.now(), recipients=taken, attempts=email.attempts + 1, detail=str(_OK))


@asynccontextmanager
async def _old_snapshot(url: str | None) -> AsyncIterator[None]:
    """Hold a snapshot, so that Postgres must keep every version of every row from now on."""
    if url is None:
        yield
        return
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetchval("SELECT pg_current_snapshot()")
            yield
    finally:
        await connection.close()
