"""What a server holds: idle, and after it has accepted and sent ever more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial

from bench.ground import EMAIL, OUTSPOOL, SQLITE, Ground
from bench.processes import memory_mb, peak_mb
from bench.rivals.mcp_email_server import McpEmailServer
from bench.servers import BARE, over_stdio
from bench.table import Figures, Table, take_turns

_AT_ONCE = 20
_PATIENCE = 1200.0
_FILE_MB = 25


async def memory(ground: Ground) -> Sequence[Table]:
    """Look at servers over stdio, each with its worker, as one person runs them."""
    table = Table(
        title="Memory",
        drawn="idle PSS MB",
        note="PSS: what is the process's own and its share of what it shares; RSS counts shared pages whole. The very "
        "first start makes the tables and keeps Alembic in memory; every other finds them made.",
    )
    rival = McpEmailServer(ground)
    with ground.databases() as urls:
        contenders = {
            "bare MCPServer": partial(_bare, ground, ground.variables(urls[SQLITE])),
            **{
                f"outspool, {kind}": partial(
                    _sending, ground, ground.variables(url), ground.scale.remembered[: None if kind == SQLITE else 1]
                )
                for kind, url in urls.items()
            },
            rival.name: partial(_rival, ground, rival),
        }
        return [await take_turns(table, contenders, rounds=1)]


async def _bare(ground: Ground, variables: Mapping[str, str]) -> Figures:
    async with over_stdio(BARE, variables, ground.new_folder()) as server:
        await server.call("nothing", {})
        await asyncio.sleep(ground.scale.settling)
        return _named("idle", memory_mb(server.pid))


async def _sending(ground: Ground, variables: Mapping[str, str], numbers: Sequence[int]) -> Figures:
    figures = await _idle(ground, variables, "first start")
    async with over_stdio(OUTSPOOL, variables, ground.new_folder()) as server:
        await server.call("list_emails", {})
        await asyncio.sleep(ground.scale.settling)
        figures |= _named("idle", memory_mb(server.pid))
        sent = 0
        for number in numbers:
            await ground.sink.clear()
            await server.load("send_email", EMAIL | {"wait": 0}, calls=number - sent, callers=_AT_ONCE)
            await ground.sink.wait_for(number - sent, max_wait=_PATIENCE)
            await asyncio.sleep(ground.scale.settling)
            figures |= _named(f"after {number:,}", memory_mb(server.pid))
            sent = number
    return figures | await _with_a_file(ground, variables)


async def _with_a_file(ground: Ground, variables: Mapping[str, str]) -> dict[str, float]:
    """Send one email with a large file and see how much more a server holds at the worst moment."""
    folder = ground.new_folder()
    file = folder / "large.bin"
    file.write_bytes(os.urandom(_FILE_MB * 10**6))
    roots = {"EMAIL_ATTACHMENT_ROOTS": str(folder), "EMAIL_MAX_MESSAGE_MB": str(2 * _FILE_MB)}
    async with over_stdio(OUTSPOOL, {**variables, **roots}, folder) as server:
        await ground.sink.clear()
        await server.call("send_email", EMAIL)
        await asyncio.sleep(ground.scale.settling)
        idle = memory_mb(server.pid)["PSS MB"]
        with peak_mb(server.pid) as peak:
            await server.call("send_email", EMAIL | {"attachments": [{"path": str(file)}]})
            await ground.sink.wait_for(2, max_wait=_PATIENCE)
        return {f"{_FILE_MB} MB attachment, more PSS MB": peak() - idle}


async def _idle(ground: Ground, variables: Mapping[str, str], when: str) -> dict[str, float]:
    async with over_stdio(OUTSPOOL, variables, ground.new_folder()) as server:
        await server.call("list_emails", {})
        await asyncio.sleep(ground.scale.settling)
        return _named(when, memory_mb(server.pid))


async def _rival(ground: Ground, rival: McpEmailServer) -> Figures:
    command, variables, folder = await rival.ready()
    figures: dict[str, float] = {}
    async with over_stdio(command, variables, folder) as server:
        await server.call(rival.harmless_tool, {})
        await asyncio.sleep(ground.scale.settling)
        figures |= _named("idle", memory_mb(server.pid))
        number = ground.scale.remembered[0]
        await server.load(rival.sending_tool, rival.email, calls=number, callers=_AT_ONCE)
        await asyncio.sleep(ground.scale.settling)
        return figures | _named(f"after {number:,}", memory_mb(server.pid))


def _named(when: str, figures: Figures) -> dict[str, float]:
    return {f"{when} {name}": figure for name, figure in figures.items()}
