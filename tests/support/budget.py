"""Calls tools of an outspool process, and measures the memory and time of each call.

Over stdio or HTTP, in raw JSON-RPC, because a client library has limits of its own. During a call pings are sent, as
other callers would send them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support import variables
from support.smtp_sink import SmtpSink
from support.stage import OUTSPOOL, serving

_MEGABYTE = 1024 * 1024
_PING_EVERY = 0.05
_MOST_SECONDS = 5
_TRIES = 4
_PATIENCE = 60.0
_VERSION = "2025-06-18"


@dataclass(frozen=True)
class Spent:
    """What one call took: seconds until its answer, MB that the process grew by at its peak, its slowest ping."""

    name: str
    request_mb: float
    seconds: float
    grown_mb: float
    slowest_ping: float
    is_error: bool
    text: str

    @property
    def is_within_budget(self) -> bool:
        """True if it took no more than any call may; on a busy machine everything takes longer."""
        slowdown = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        return (
            self.seconds < _MOST_SECONDS * slowdown
            and self.grown_mb < min(10 * self.request_mb + 50, 300)
            and self.slowest_ping < (0.2 if self.request_mb <= 4 else 1.0) * slowdown
            and bool(self.text)
        )


@dataclass
class Server:
    """A running outspool: `send` posts one message of JSON-RPC, answers arrive by id."""

    pid: int
    send: Callable[[bytes], Any]
    answers: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    last_id: int = 0

    async def request(self, method: str, params: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """Send a request and return its answer; `params` may be JSON that is no JSON."""
        self.last_id += 1
        number = self.last_id
        self.answers[number] = asyncio.get_running_loop().create_future()
        written = params if isinstance(params, bytes) else json.dumps(params).encode()
        head = json.dumps({"jsonrpc": "2.0", "id": number, "method": method}).encode()
        message = head[:-1] + b', "params": ' + written + b"}"
        del written
        try:
            async with asyncio.timeout(_PATIENCE):
                sending = asyncio.create_task(self.send(message))
                answer = await self.answers[number]
                await sending
                return answer
        except TimeoutError:
            raise AssertionError(f"no answer to {method} in {_PATIENCE} s") from None

    async def call(self, name: str, tool: str, arguments: Mapping[str, Any] | bytes) -> Spent:
        """Call a tool, and measure it."""
        written = arguments if isinstance(arguments, bytes) else json.dumps(arguments).encode()
        params = b'{"name": "' + tool.encode() + b'", "arguments": ' + written + b"}"
        size = len(params) / _MEGABYTE
        del written
        before = _reset_peak(self.pid)
        pings = asyncio.create_task(self._ping())
        start = time.monotonic()
        answer = await self.request("tools/call", params)
        seconds = time.monotonic() - start
        pings.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pings
        slowest = self._slowest
        result = answer.get("result", {})
        text = " ".join(block.get("text", "") for block in result.get("content", []))
        text = text or str(answer.get("error", {}).get("message", ""))
        grown = _memory(self.pid, "VmHWM") - before
        is_error = bool(result.get("isError")) or "error" in answer
        return Spent(name, size, seconds, grown, slowest, is_error, text[:200])

    async def spend(self, name: str, tool: str, arguments: Mapping[str, Any] | bytes) -> Spent:
        """Call a tool and assert that it keeps to the budget; once is enough, for the machine may have been busy."""
        tries: list[Spent] = []
        while len(tries) < _TRIES:
            tries.append(await self.call(name, tool, arguments))
            if tries[-1].is_within_budget:
                return tries[-1]
        raise AssertionError(tries)

    async def _ping(self) -> None:
        self._slowest = 0.0
        while True:
            start = time.monotonic()
            try:
                await self.request("ping", {})
            finally:
                self._slowest = max(self._slowest, time.monotonic() - start)
            await asyncio.sleep(_PING_EVERY)

    def take(self, answer: Mapping[str, Any]) -> None:
        """Note an answer."""
        number = answer.get("id")
        if isinstance(number, int) and "method" not in answer and not self.answers[number].done():
            self.answers[number].set_result(dict(answer))  # done: a ping that nobody waits for any more

    async def begin(self) -> None:
        """Shake hands, and have loaded what the first calls load."""
        client = {"protocolVersion": _VERSION, "capabilities": {}, "clientInfo": {"name": "budget", "version": "1"}}
        await self.request("initialize", client)
        await self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        for html in ("<p>x", None):
            warm = {"to": ["a@example.com"], "subject": "warm", "body": None if html else "x", "html": html, "wait": 0}
            await self.request("tools/call", {"name": "send_email", "arguments": warm})


@asynccontextmanager
async def over_stdio(environment: Mapping[str, str], folder: Path) -> AsyncIterator[Server]:
    """Run an outspool over stdio."""
    with (folder / "stdio.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *OUTSPOOL,
            env=dict(environment),
            cwd=folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=64 * _MEGABYTE,
        )
        assert process.stdin is not None
        stdin, turn = process.stdin, asyncio.Lock()

        async def send(message: bytes) -> None:
            async with turn:
                stdin.write(message + b"\n")
                await stdin.drain()

        async def read() -> None:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                server.take(json.loads(line))

        server = Server(process.pid, send)
        reading = asyncio.create_task(read())
        try:
            await server.begin()
            yield server
            assert process.returncode is None, "the process ended"
        finally:
            stdin.close()
            reading.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


@asynccontextmanager
async def over_http(environment: Mapping[str, str], folder: Path) -> AsyncIterator[Server]:
    """Run ``outspool serve`` and reach it by streamable HTTP."""
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    with serving(environment, folder) as (url, pid):
        async with httpx.AsyncClient(headers=headers, timeout=_PATIENCE) as client:

            async def send(message: bytes) -> None:
                posted = int(message.partition(b'"id": ')[2].partition(b",")[0]) if b'"id": ' in message[:60] else None
                response = await client.post(f"{url}/mcp", content=message)
                if session := response.headers.get("mcp-session-id"):
                    client.headers["mcp-session-id"] = session
                lines = [line[5:] for line in response.text.splitlines() if line.startswith("data:")]
                for line in lines or [response.text]:
                    if line.strip():
                        answer = json.loads(line)
                        # What could not be parsed has no id for the SDK; the response tells what it answers.
                        server.take(answer if answer.get("id") is not None else answer | {"id": posted})

            server = Server(pid, send)
            await server.begin()
            yield server


def _memory(pid: int, what: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def _reset_peak(pid: int) -> float:
    """Let the peak begin anew, and return the memory in use, in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory(pid, "VmRSS")


def environment(folder: Path, sink: SmtpSink) -> dict[str, str]:
    """Return what an outspool gets that keeps its data in `folder`."""
    sender = "Outspool Test <me@example.com>"
    return variables.environment(folder / "data", sink, HOME=folder, EMAIL_FROM=sender)
