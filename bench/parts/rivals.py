"""Emails of 4 KB per second into the same sink: outspool, other programs, and what the libraries could do at best."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.ground import BODY, POSTGRES, SQLITE, Ground
from bench.parts.deliver import empty_a_queue
from bench.processes import cpu_seconds
from bench.rivals.environment import environment
from bench.rivals.mcp_email_server import McpEmailServer
from bench.servers import over_stdio
from bench.sink import rate
from bench.table import AbsentError, Figures, Table, take_turns

_RAW = Path(__file__).parent.parent / "rivals" / "raw_smtp.py"
_JOBS = Path(__file__).parent.parent / "rivals" / "procrastinate_jobs.py"
_PATIENCE = 300.0
_WIDE = 16
"""Connections, or jobs at a time, where more than the usual four are asked for."""
_AT_ONCE = 200
_PROCRASTINATE = ("procrastinate==3.*", "psycopg[binary,pool]==3.*", "aiosmtplib==5.*")
_SMTP_SOURCE = "C smtp-source, 16 connections"


async def rivals(ground: Ground) -> Sequence[Table]:
    """Let everybody send the same number of the same email."""
    number = ground.scale.emails
    server = McpEmailServer(ground)
    table = Table(
        title="4 KB emails per second, beside others",
        drawn="per second",
        note="Everything below outspool promises less: nothing is stored, or nothing is sent, or nothing is marked.",
    )
    contenders = {
        f"outspool, {kind}, {connections} connections": partial(
            empty_a_queue, ground, kind, BODY, number, connections=connections
        )
        for kind, connections in ((POSTGRES, 4), (POSTGRES, _WIDE), (SQLITE, 4))
        if connections in ground.scale.connections
    }
    contenders |= {
        "procrastinate, jobs that do nothing": partial(_jobs, ground, "nothing", number),
        "procrastinate, jobs that send": partial(_jobs, ground, "send", number),
        f"{server.name}, one after another": partial(_server, ground, server, number // 10, 1),
        f"{server.name}, {_AT_ONCE} at once": partial(_server, ground, server, number // 10, _AT_ONCE),
        "aiosmtplib, a connection each": partial(_raw, ground, "new", 4, number),
        "aiosmtplib, 4 kept, EmailMessage": partial(_raw, ground, "composed", 4, number),
        "aiosmtplib, 4 kept, bytes ready": partial(_raw, ground, "kept", 4, number),
        f"aiosmtplib, {_WIDE} kept, bytes ready": partial(_raw, ground, "kept", _WIDE, number),
        _SMTP_SOURCE: partial(_smtp_source, ground, number),
    }
    return [await take_turns(table, contenders, rounds=ground.scale.rounds)]


async def _raw(ground: Ground, how: str, connections: int, number: int) -> Figures:
    command = (sys.executable, _RAW, ground.sink.port, how, connections, number)
    return await _from_outside(ground, [str(word) for word in command], number)


async def _smtp_source(ground: Ground, number: int) -> Figures:
    program = shutil.which("smtp-source", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise AbsentError("It is not installed; Debian's postfix has it.")
    options = f"-d -s {_WIDE} -l {len(BODY)} -m {number} -f me@example.com -t ada@example.com"
    target = f"{ground.sink.host}:{ground.sink.port}"
    return await _from_outside(ground, [program, *options.split(), target], number)


async def _from_outside(ground: Ground, command: Sequence[str], number: int) -> Figures:
    """Run a program that sends `number` emails and ends; count at the sink."""
    await ground.sink.clear()
    process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL)
    try:
        taken = await ground.sink.wait_for(number, max_wait=_PATIENCE)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    return {"per second": rate(taken)}


async def _jobs(ground: Ground, what: str, number: int) -> Figures:
    programs = await environment(ground, "procrastinate", *_PROCRASTINATE)
    with ground.database(POSTGRES) as url:
        command = (programs / "python", _JOBS, url, ground.sink.port, what, _WIDE, number)
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(_PATIENCE):
            out, complaint = await process.communicate()
    if process.returncode:
        raise RuntimeError(complaint.decode()[-200:])
    per_second, milliseconds = map(float, out.split())
    return {"per second": per_second, "worker CPU ms each": milliseconds}


async def _server(ground: Ground, server: McpEmailServer, number: int, callers: int) -> Figures:
    command, variables, folder = await server.ready()
    number = max(number, min(callers, ground.scale.emails))
    async with over_stdio(command, variables, folder) as connected:
        await connected.call(server.sending_tool, server.email)
        await ground.sink.clear()
        used = cpu_seconds(connected.pid)
        await connected.load(server.sending_tool, server.email, calls=number, callers=callers)
        taken = await ground.sink.wait_for(number, max_wait=_PATIENCE)
        used = cpu_seconds(connected.pid) - used
    return {"per second": rate(taken), "worker CPU ms each": used * 1000 / number}
