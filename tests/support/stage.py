"""outspool as its users run it: a process of its own, reached through a real MCP client."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from mcp.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent

from support.smtp_sink import Received, SmtpSink
from support.variables import environment

OUTSPOOL = [sys.executable, "-m", "outspool"]
_STARTING = 30.0


class ToolRefusedError(AssertionError):
    """A tool answered with an error; the text is the error's."""


@dataclass(frozen=True)
class Session:
    """One connected client."""

    client: Client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured result, which the client has held against the output schema."""
        result = await self.client.call_tool(tool, {name.rstrip("_"): value for name, value in arguments.items()})
        text = "".join(block.text for block in result.content if isinstance(block, TextContent))
        if result.is_error:
            raise ToolRefusedError(text)
        assert result.structured_content is not None
        assert result.structured_content.get("summary", "") in text
        return dict(result.structured_content)

    async def refused(self, tool: str, **arguments: Any) -> str:
        """Call a tool that must refuse, and return the error's text."""
        try:
            accepted = await self.call(tool, **arguments)
        except ToolRefusedError as error:
            return str(error)
        raise AssertionError(f"{tool} was not refused: {accepted}")

    async def until(self, email_id: str, *statuses: str, max_wait: float = 20) -> dict[str, Any]:
        """Return the email as soon as it has one of `statuses`; fail after `max_wait` seconds."""
        deadline = time.monotonic() + max_wait
        while (email := await self.call("get_status", email_id=email_id))["status"] not in statuses:
            assert time.monotonic() < deadline, f"still {email['status']} after {max_wait} s: {email['summary']}"
            await asyncio.sleep(0.05)
        return email


@dataclass(frozen=True)
class Stage:
    """An SMTP server and the environment of an outspool that delivers to it; `url` is set if that serves HTTP."""

    sink: SmtpSink
    folder: Path
    environment: Mapping[str, str]
    url: str | None = None
    transport: str = "stdio"
    era: str = "auto"
    topic: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def reached_by(self, transport: str, era: str) -> Stage:
        """Return the same stage for one test, with a `topic` of its own to tell its emails by."""
        return replace(self, transport=transport, era=era, topic=uuid.uuid4().hex[:12])

    @asynccontextmanager
    async def session(self, hears: MessageHandlerFnT | None = None, /, **environment: str) -> AsyncIterator[Session]:
        """Connect a client that `hears` what the server tells unasked.

        Over stdio that starts an outspool, with more `environment` if given.
        """
        assert not environment or self.transport == "stdio", "what serves HTTP runs already"
        with (self.folder / "stdio.log").open("a") as log:
            if self.transport == "stdio":
                parameters = StdioServerParameters(
                    command=OUTSPOOL[0],
                    args=OUTSPOOL[1:],
                    env={**self.environment, **environment},
                    cwd=self.folder,
                )
                client = Client(stdio_client(parameters, errlog=log), mode=self.era, message_handler=hears)
            elif self.transport == "sse":
                client = Client(sse_client(f"{self.url}/sse"), mode=self.era, message_handler=hears)
            else:
                client = Client(f"{self.url}/mcp", mode=self.era, message_handler=hears)
            async with client:
                yield Session(client)

    def message(self, *recipients: str, **more: Any) -> dict[str, Any]:
        """Return the arguments of an email that `received` can find."""
        return {"to": list(recipients or ("ada@example.com",)), "subject": self.topic, "body": "Good day.", **more}

    async def arrival(self, max_wait: float = 20) -> list[Received]:
        """Return what `received` does as soon as there is something; fail after `max_wait` seconds."""
        deadline = time.monotonic() + max_wait
        while not (mails := self.received()):
            assert time.monotonic() < deadline, f"nothing of this test has arrived in {max_wait} s"
            await asyncio.sleep(0.05)
        return mails

    @contextmanager
    def smtp_down(self) -> Iterator[None]:
        """Nobody listens where the SMTP server was, until the block ends."""
        self.sink.stop()
        try:
            yield
        finally:
            self.sink.start()

    def received(self) -> list[Received]:
        """Return what the SMTP server took of this test's emails."""
        return [mail for mail in self.sink.messages() if self.topic in mail.raw.decode("utf-8", "replace")]


OpenStage = Callable[[str], Stage]
"""From ``stdio`` or ``http`` to the one stage of that kind on a database."""


@contextmanager
def open_stage(folder: Path, database_url: str, *, serves_http: bool) -> Iterator[Stage]:
    """Start an SMTP server and, if `serves_http`, an outspool that delivers to it."""
    spool = folder / "smtp"
    spool.mkdir()
    with SmtpSink(spool) as sink:
        settings = environment(folder / "data", sink, database_url, EMAIL_FROM="Outspool Test <me@example.com>")
        stage = Stage(sink=sink, folder=folder, environment=settings)
        if serves_http:
            with serving(settings, folder) as (url, _):
                yield replace(stage, url=url)
        else:
            yield stage


@contextmanager
def serving(environment: Mapping[str, str], folder: Path) -> Iterator[tuple[str, int]]:
    """Run ``outspool serve`` on a free port, and give its URL and its process id once it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "serve.log").open("a") as log:
        command = [*OUTSPOOL, "serve", "--port", str(port)]
        server = subprocess.Popen(command, env=dict(environment), cwd=folder, stdout=log, stderr=log)
        try:
            _await_health(url, server, folder / "serve.log")
            yield url, server.pid
        finally:
            server.terminate()
            server.wait(_STARTING)


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_health(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING
    while True:
        try:
            if httpx.get(f"{url}/healthz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        assert server.poll() is None, f"outspool serve ended: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"outspool serve does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.05)
