"""How fast a full queue empties into the sink, by size, connections, workers and database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

from bench.ground import BODY, EMAIL, OUTSPOOL, POSTGRES, SQLITE, Ground
from bench.processes import cpu_seconds, running
from bench.sink import rate
from bench.stock import stock
from bench.table import Figures, Table, take_turns
from outspool.app.runtime import Outspool
from outspool.domain.principal import Scope
from outspool.domain.status import EmailStatus
from outspool.ports.emails import MOST_COUNTED
from outspool.services.acceptance.validation import EmailRequest

_PATIENCE = 300.0
_USUAL = 4
"""Connections of a worker unless told otherwise; the one that the number of workers is varied with."""


async def deliver(ground: Ground) -> Sequence[Table]:
    """Fill and empty queues of small and of large emails."""
    scale = ground.scale
    return [
        await take_turns(
            Table(
                title=f"Queue to SMTP sink, {size}",
                drawn="per second",
                note="Counted by the sink from the first to the last; the workers are up before anything is due.",
            ),
            {
                f"{kind}, {_plural(workers, 'worker')}, {_plural(connections, 'connection')}": partial(
                    empty_a_queue, ground, kind, body, emails, workers=workers, connections=connections
                )
                for kind in (POSTGRES, SQLITE)
                if kind in scale.servers_on
                for workers, connections in _settings(scale.workers, scale.connections)
            },
            rounds=scale.rounds,
        )
        for size, body, emails in (("4 KB", BODY, scale.emails), ("1 MB", BODY * 256, scale.large_emails))
    ]


def _settings(workers: Sequence[int], connections: Sequence[int]) -> list[tuple[int, int]]:
    """Vary one at a time."""
    return [*((1, c) for c in connections), *((w, _USUAL) for w in workers if w != 1)]


async def empty_a_queue(
    ground: Ground, kind: str, body: str, emails: int, *, workers: int = 1, connections: int = _USUAL
) -> Figures:
    """Stock a database, have workers ready, make all due at once; return what the sink counted."""
    with ground.database(kind) as url, ExitStack() as stack:
        async with ground.outspool(url) as outspool:
            stocked = await stock(outspool, EmailRequest(to=EMAIL["to"], subject="A figure", body=body), emails)
            await ground.sink.clear()
            variables = ground.variables(url, SMTP_CONNECTIONS=connections)
            pids = [
                stack.enter_context(running([*OUTSPOOL, "worker"], variables, ground.new_folder()))
                for _ in range(workers)
            ]
            await _all_ready(outspool, workers)
            before = cpu_seconds(*pids)
            await stocked.release()
            taken = await ground.sink.wait_for(emails, max_wait=_PATIENCE)
            await _all_recorded(outspool, emails)
            used = cpu_seconds(*pids) - before
    return {"per second": rate(taken), "worker CPU ms each": used * 1000 / emails}


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"


async def _all_ready(outspool: Outspool, workers: int) -> None:
    async def are_ready() -> bool:
        return len(await outspool.queue.workers(since=datetime.now(UTC) - timedelta(hours=1))) == workers

    await _until(are_ready)


async def _all_recorded(outspool: Outspool, emails: int) -> None:
    all_sent = {EmailStatus.SENT: min(emails, MOST_COUNTED)}

    async def are_recorded() -> bool:
        return await outspool.store.counts(Scope.everything()) == all_sent

    await _until(are_recorded)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask another process's database until it is so."""
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 - another process brings it about
            await asyncio.sleep(0.05)
