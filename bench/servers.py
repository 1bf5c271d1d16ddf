"""MCP servers, started and reached as their users do."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.processes import children, running

BARE = (sys.executable, str(Path(__file__).with_name("bare_server.py")))
_STARTING = 60.0


@dataclass(frozen=True, slots=True)
class Connected:
    """A client, and the process id of the server it talks to (0 where the system does not tell)."""

    client: Client
    pid: int

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> float:
        """Call a tool that must not fail; return the seconds until its answer."""
        began = time.perf_counter()
        result = await self.client.call_tool(tool, dict(arguments))
        took = time.perf_counter() - began
        if result.is_error:
            raise RuntimeError(f"{tool} failed: {str(result.content)[:200]}")
        return took

    async def load(self, tool: str, arguments: Mapping[str, Any], *, calls: int, callers: int) -> list[float]:
        """Call a tool so many times, so many callers at once; return how long each call took, in seconds."""
        waiting = iter(range(calls))

        async def caller() -> list[float]:
            return [await self.call(tool, arguments) for _ in waiting]

        return [took for of_one in await asyncio.gather(*(caller() for _ in range(callers))) for took in of_one]


@asynccontextmanager
async def over_stdio(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> AsyncIterator[Connected]:
    """Start a server and shake hands with it. Two must not be started at the same moment: their ids would be mixed."""
    before = children()
    server = StdioServerParameters(command=command[0], args=list(command[1:]), env=dict(variables), cwd=folder)
    with (folder / "log").open("a") as log:
        async with Client(stdio_client(server, errlog=log)) as client:
            yield Connected(client, max(children() - before, default=0))


@asynccontextmanager
async def over_http(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> AsyncIterator[Connected]:
    """Start a server that takes ``--port``, and shake hands with it over streamable HTTP."""
    port = _free_port()
    with running([*command, "--port", str(port)], variables, folder) as pid:
        await _until_open(port)
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            yield Connected(client, pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _until_open(port: int) -> None:
    async with asyncio.timeout(_STARTING):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
