"""Where a measure takes place: a folder of its own, an SMTP sink, and servers started there."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from support.smtp_sink import SmtpSink
from support.workers import environment

OUTSPOOL = (sys.executable, "-m", "outspool")
BARE = (sys.executable, str(Path(__file__).with_name("bare_server.py")))


@dataclass(frozen=True, slots=True)
class Place:
    """See the module."""

    folder: Path
    sink: SmtpSink

    @property
    def variables(self) -> dict[str, str]:
        """The environment of an outspool that keeps its queue in the folder and delivers to the sink."""
        return environment(self.sink, f"sqlite:///{self.folder / 'outspool.db'}", self.folder)

    @asynccontextmanager
    async def connected(self, command: Sequence[str]) -> AsyncIterator[Client]:
        """Start a server, and shake hands with it over stdio."""
        program, *arguments = command
        server = StdioServerParameters(command=program, args=arguments, env=self.variables, cwd=self.folder)
        with (self.folder / "stderr.log").open("a") as log:
            async with Client(stdio_client(server, errlog=log), mode="legacy") as client:
                yield client


async def call(client: Client, tool: str, arguments: Mapping[str, Any] | None = None) -> float:
    """Call a tool that must not fail; return the milliseconds until its answer."""
    began = time.perf_counter()
    result = await client.call_tool(tool, dict(arguments or {}))
    if result.is_error:
        raise RuntimeError(f"{tool} failed: {result.content}")
    return since(began)


def since(began: float) -> float:
    """Return the milliseconds since this reading of `time.perf_counter`."""
    return (time.perf_counter() - began) * 1000
