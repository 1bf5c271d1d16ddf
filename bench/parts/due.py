"""How late emails leave: after the time they were due, and after they were accepted."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from bench.ground import BODY, EMAIL, OUTSPOOL, Ground
from bench.processes import running
from bench.servers import over_stdio
from bench.sink import Taken
from bench.stock import stock
from bench.table import Figures, Table, latencies, take_turns
from outspool.services.acceptance.validation import EmailRequest

_PATIENCE = 120.0


async def due(ground: Ground) -> Sequence[Table]:
    """Measure emails due at one instant, emails due one by one, and emails accepted while nothing else happens."""
    number = ground.scale.timed
    spread = number / ground.scale.per_second
    table = Table(
        title="Due time to MAIL FROM",
        drawn="p99 ms",
        note=f"{number:,} emails, one worker. At one instant the last has to wait for all the others.",
    )
    await take_turns(
        table,
        {
            f"{kind}, {what}": partial(_scheduled, ground, kind, number, seconds)
            for what, seconds in ((f"spread over {spread:g} s", spread), ("at one instant", 0.0))
            for kind in ground.scale.servers_on
        },
        rounds=min(2, ground.scale.rounds),
    )
    idle = Table(
        title="Accept to MAIL FROM, idle",
        drawn="p99 ms",
        note="From the tool call to `MAIL FROM`, one email at a time, pauses between them.",
    )
    contenders = {
        f"{kind}, by {whom}": partial(_accepted, ground, kind, command)
        for whom, command in (("the server itself", OUTSPOOL), ("another process", (*OUTSPOOL, "--no-worker")))
        for kind in ground.scale.servers_on
    }
    return table, await take_turns(idle, contenders, rounds=min(2, ground.scale.rounds))


async def _scheduled(ground: Ground, kind: str, number: int, seconds: float) -> Figures:
    with (
        ground.database(kind) as url,
        running([*OUTSPOOL, "worker"], ground.variables(url), ground.new_folder()),
    ):
        async with ground.outspool(url) as outspool:
            await ground.sink.clear()
            stocked = await stock(outspool, EmailRequest(to=EMAIL["to"], subject="A figure", body=BODY), number)
            first = datetime.now(UTC) + timedelta(seconds=ground.scale.lead)
            await stocked.schedule(first, over=timedelta(seconds=seconds))
            taken = await ground.sink.wait_for(number, max_wait=_PATIENCE + seconds)
    return latencies([_late(message) for message in taken])


def _late(message: Taken) -> float:
    """Return the seconds from the time in the address, written by `Stock.schedule`, to ``MAIL FROM``."""
    return message.mail_at - int(message.recipient.partition("@")[0][1:]) / 1e6


async def _accepted(ground: Ground, kind: str, command: Sequence[str]) -> Figures:
    number = max(3, ground.scale.timed // 10)
    with ground.database(kind) as url:
        variables = ground.variables(url)
        if command == OUTSPOOL:
            return await _one_by_one(ground, command, variables, number)
        with running([*OUTSPOOL, "worker"], variables, ground.new_folder()):
            return await _one_by_one(ground, command, variables, number)


async def _one_by_one(ground: Ground, command: Sequence[str], variables: dict[str, str], number: int) -> Figures:
    late = []
    async with over_stdio(command, variables, ground.new_folder()) as server:
        await server.call("send_email", EMAIL | {"wait": 50})  # all is up, and the connection is open
        for _ in range(number):
            await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 - in step with nobody's poll
            await ground.sink.clear()
            began = time.time()
            await server.call("send_email", EMAIL | {"wait": 0})
            [message] = await ground.sink.wait_for(1, max_wait=_PATIENCE)
            late.append(message.mail_at - began)
    return latencies(late)
