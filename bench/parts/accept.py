"""What a durable commit adds to a tool call: `send_email` with ``wait=0`` beside a tool that does nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.ground import EMAIL, OUTSPOOL, SQLITE, Ground
from bench.processes import cpu_seconds
from bench.servers import BARE, Connected, over_http, over_stdio
from bench.table import Figures, Table, latencies, take_turns

AT_ONCE = EMAIL | {"wait": 0}
TRANSPORTS = {"stdio": over_stdio, "HTTP": over_http}
MANY = 50
_SENDING_TOO = ", sending too"


@dataclass(frozen=True, slots=True)
class _Stand:
    """A server that is up, and the tool that is called there."""

    server: Connected
    tool: str
    arguments: Mapping[str, Any]


async def accept(ground: Ground) -> Sequence[Table]:
    """Measure one caller, then many at once, on servers that all stay up."""
    tables = []
    async with _stands(ground) as stands:
        for callers, calls in ((1, ground.scale.calls), (MANY, ground.scale.calls_at_once)):
            table = Table(
                title=f"Accept, {'one caller' if callers == 1 else f'{callers} callers at once'}",
                drawn="p50 ms",
                note="`nothing`, `append` (4 KB and an fsync): tools of a bare server on the same transport.",
            )
            contenders = {
                name: partial(_load, ground, stand, calls=calls, callers=callers, is_sent=name.endswith(_SENDING_TOO))
                for name, stand in stands.items()
            }
            tables.append(
                await take_turns(table, contenders, rounds=ground.scale.rounds, warm_ups=ground.scale.warm_ups)
            )
    return tables


@asynccontextmanager
async def _stands(ground: Ground) -> AsyncIterator[dict[str, _Stand]]:
    """Yield every server, started one after another."""
    stands: dict[str, _Stand] = {}
    async with AsyncExitStack() as stack:

        async def start(transport: str, command: Sequence[str], kind: str) -> Connected:
            variables = ground.variables(stack.enter_context(ground.database(kind)))
            return await stack.enter_async_context(TRANSPORTS[transport](command, variables, ground.new_folder()))

        for transport in TRANSPORTS:
            serve = (*OUTSPOOL, "serve") if transport == "HTTP" else OUTSPOOL
            bare = await start(transport, BARE, SQLITE)
            for tool in ("nothing", "append"):
                stands[f"{transport}, {tool}"] = _Stand(bare, tool, {})
            for kind in ground.scale.servers_on:
                server = await start(transport, (*serve, "--no-worker"), kind)
                stands[f"{transport}, {kind}"] = _Stand(server, "send_email", AT_ONCE)
                if ground.scale.sends_too:
                    server = await start(transport, serve, kind)
                    stands[f"{transport}, {kind}{_SENDING_TOO}"] = _Stand(server, "send_email", AT_ONCE)
        yield stands


async def _load(ground: Ground, stand: _Stand, *, calls: int, callers: int, is_sent: bool) -> Figures:
    await ground.sink.clear()
    used, began = cpu_seconds(stand.server.pid), time.perf_counter()
    took = await stand.server.load(stand.tool, stand.arguments, calls=calls, callers=callers)
    seconds, used = time.perf_counter() - began, cpu_seconds(stand.server.pid) - used
    if is_sent:
        await ground.sink.wait_for(calls, max_wait=120)  # nobody else's turn before all is quiet
    return {**latencies(took), "per second": calls / seconds, "server CPU ms": used * 1000 / calls}
