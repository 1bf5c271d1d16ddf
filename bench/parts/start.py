"""How long a client waits for the server it starts, and what of it is imports."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.ground import OUTSPOOL, SQLITE, Ground
from bench.rivals.mcp_email_server import McpEmailServer
from bench.servers import BARE, over_stdio
from bench.table import Figures, Table, take_turns

MODULES = (
    "mcp.server.mcpserver",
    "outspool.cli",
    "outspool.mcp.server",
    "outspool.app.runtime",
    "sqlalchemy",
    "aiosmtplib",
    "apscheduler.schedulers.asyncio",
)


async def start(ground: Ground) -> Sequence[Table]:
    """Start servers in turn, and import modules in turn; the first round fills the disk's cache and does not count."""
    rounds = ground.scale.starts
    table = Table(
        title="Start over stdio",
        drawn="initialize ms",
        note="Until the handshake is answered, and until a first tool call is. The queue is opened behind the first.",
    )
    rival = McpEmailServer(ground)
    with ground.databases() as urls:
        contenders = {
            "bare MCPServer": partial(_start, BARE, ground.variables(urls[SQLITE]), ground.new_folder(), "nothing"),
            **{
                f"outspool, {kind}": partial(
                    _start, OUTSPOOL, ground.variables(url), ground.new_folder(), "list_emails"
                )
                for kind, url in urls.items()
            },
            rival.name: partial(_start_rival, rival),
        }
        await take_turns(table, contenders, rounds=rounds, warm_ups=ground.scale.warm_ups)
    imports = Table(
        title="Imports",
        note="Each in a Python of its own, with all it imports in turn; `outspool.app.runtime` comes after initialize.",
    )
    await take_turns(
        imports,
        {m: partial(_import, m) for m in MODULES},
        rounds=ground.scale.rounds,
        warm_ups=ground.scale.warm_ups,
    )
    return table, imports


async def _start(command: Sequence[str], variables: Mapping[str, str], folder: Path, tool: str) -> Figures:
    began = time.perf_counter()
    async with over_stdio(command, variables, folder) as server:
        handshake = time.perf_counter() - began
        await server.call(tool, {})
        return {"initialize ms": handshake * 1000, "first answer ms": (time.perf_counter() - began) * 1000}


async def _start_rival(rival: McpEmailServer) -> Figures:
    command, variables, folder = await rival.ready()
    return await _start(command, variables, folder, rival.harmless_tool)


async def _import(module: str) -> Figures:
    """Ask the interpreter itself: its last line on stderr is the module's own, with all that came with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", "-c", f"import {module}", stdout=DEVNULL, stderr=PIPE, env=dict(os.environ)
    )
    _, log = await process.communicate()
    times = {line.split("|")[-1].strip(): int(line.split("|")[1]) for line in log.decode().splitlines()[1:]}
    return {"ms": times[module] / 1000}
