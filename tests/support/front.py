r"""The tools, in this process, in front of a whole outspool on a database, with a real SMTP server behind it.

::

    async with front(folder, sink, database_url) as face:
        await face.refuses(({"subject": "a\nb"}, "a line break"))  # and nothing was stored
        [mail] = await face.delivered({"subject": "a"})  # what the server received
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mcp.client import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import CallToolResult, TextContent

from outspool.adapters.sql.tables import attachments, blobs, emails, recipients
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.errors import Refusal
from outspool.mcp.server import build_server
from support.composing import assert_wire_safe
from support.smtp_sink import Received, SmtpSink
from support.variables import variables

CODES = frozenset(kind.code for kind in Refusal.__subclasses__())
"""What begins the sentence of a refusal."""

_OURS = frozenset(
    {
        *("date", "from", "to", "cc", "reply-to", "subject", "message-id", "in-reply-to", "references"),
        *("x-priority", "importance", "mime-version", "content-type", "content-transfer-encoding"),
    }
)
"""The fields that outspool writes by itself."""

_INNARDS = re.compile(r"Traceback|pydantic|sqlalchemy|botocore|File \"/|site-packages| at 0x[0-9a-f]{6,}")
"""What no caller should see of a program."""


@dataclass(frozen=True)
class Accepted:
    """An email that was accepted: what was asked for, and the tool's answer."""

    asked: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The email's id."""
        return str(self.result["id"])


@dataclass(frozen=True, repr=False)
class Front:
    """See the module."""

    app: Outspool
    sink: SmtpSink
    server: MCPServer[object]
    context: Context[Any, Any]
    """That of a request, as which the tools are called."""

    ours: set[str] = field(default_factory=set)
    """The Message-IDs of all that was accepted."""

    def __repr__(self) -> str:
        return "<the tools>"

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool as a client's request does, but with any arguments: a client's encoder would refuse some."""
        result = await self.server.call_tool(tool, dict(arguments), self.context)
        assert isinstance(result, CallToolResult)
        return result

    async def attempt(self, tool: str = "send_email", **arguments: Any) -> Accepted | str:
        """Return what was accepted, or the sentence of the refusal, which must be one that a person can read."""
        asked = message(**arguments) if tool == "send_email" else arguments
        result = await self.call(tool, asked)
        said = "".join(block.text for block in result.content if isinstance(block, TextContent))
        if not result.is_error:
            assert result.structured_content is not None
            self.ours.add(result.structured_content["message_id"])
            return Accepted(asked, result.structured_content)
        assert said.partition(":")[0] in CODES, said
        assert said.isprintable(), said
        assert len(said) < 600, said
        assert not _INNARDS.search(said), said
        return said

    async def refuses(self, *members: tuple[Mapping[str, Any], str], tool: str = "send_email") -> None:
        """Assert that each of these arguments is refused, in a sentence that holds these words, and none is stored."""
        before = await self.stored()
        for arguments, words in members:
            said = await self.attempt(tool, **arguments)
            assert isinstance(said, str), f"accepted: {arguments}"
            assert words in said, (arguments, said)
        assert await self.stored() == before, "a refusal stored something"

    async def stored(self) -> tuple[int, ...]:
        """Return how many emails, recipients and attachments are stored, and how many files in the folder."""
        counts = [sa.select(sa.func.count()).select_from(table) for table in (emails, recipients, attachments, blobs)]

        def read(connection: sa.Connection) -> tuple[int, ...]:
            return tuple(connection.scalar(count) or 0 for count in counts)

        files = [path for path in self.app.settings.blobs_dir.glob("**/*") if path.is_file()]
        return (*await self.app.database.read(read), len(files))

    async def delivered(self, *asked: Mapping[str, Any], max_wait: float = 60) -> list[Received]:
        """Send these emails, all of which must be accepted, and return what the server received of each, in order.

        Whatever arrives is safe on the wire, goes to those it was for, holds no field that nobody asked for, and is
        one message each: nothing was smuggled in beside it.
        """
        mails = await self.arrivals(await self.accepted(asked), max_wait=max_wait)
        arrived = [mail.message_id for mail in self.sink.messages()]
        assert len(set(arrived)) == len(arrived), "a message arrived twice"
        assert set(arrived) <= self.ours, "more arrived than was sent"
        return mails

    async def accepted(self, asked: Iterable[Mapping[str, Any]]) -> list[Accepted]:
        """Return these emails, all of which must be accepted."""
        answers = await asyncio.gather(*(self.attempt(**arguments) for arguments in asked))
        refusals = [answer for answer in answers if isinstance(answer, str)]
        assert not refusals, refusals
        return [answer for answer in answers if isinstance(answer, Accepted)]

    async def arrivals(self, accepted: Sequence[Accepted], *, max_wait: float = 60) -> list[Received]:
        """Return what the server received of each of these emails, as soon as it has all; see `delivered`."""
        wanted = [answer.result["message_id"] for answer in accepted]
        by_id: dict[str | None, Received] = {}
        async with asyncio.timeout(max_wait):
            while not by_id.keys() >= set(wanted):
                await asyncio.sleep(0.02)
                by_id = {mail.message_id: mail for mail in self.sink.messages()}
        mails = [by_id[message_id] for message_id in wanted]
        for answer, mail in zip(accepted, mails, strict=True):
            check_wire(mail, answer)
        return mails


def message(**arguments: Any) -> dict[str, Any]:
    """Return the arguments of a plain email, but for those given; None leaves one out. Nobody waits for its outcome."""
    plain = {"to": ["ann@example.com"], "subject": "Hello", "body": "Hi.\n", "wait": 0}
    merged = plain | {name.rstrip("_"): value for name, value in arguments.items()}
    return {name: value for name, value in merged.items() if value is not None}


def check_wire(mail: Received, answer: Accepted) -> None:
    """Assert that a message goes to those it was for, and holds no field that nobody asked for, nor one twice."""
    assert_wire_safe(mail.raw)
    result, own = answer.result, answer.asked.get("headers") or {}
    named = {name.lower() for name in (json.loads(own) if isinstance(own, str) else own)}
    listed = [address for kind in ("to", "cc", "bcc") for address in result.get(kind, ())]
    assert sorted(mail.recipients) == sorted(bare(written) for written in listed)
    assert mail.envelope_from == bare(result["from"])
    head, _, _ = mail.raw.partition(b"\r\n\r\n")
    names = [match.decode().lower() for match in re.findall(rb"^([^\s:]+):", head, re.MULTILINE)]
    assert len(set(names)) == len(names), names
    assert set(names) <= _OURS | named, names
    assert [name.lower() for name in mail.parsed.keys()] == names  # noqa: SIM118 - a message may have a name twice
    assert not mail.parsed.defects


def bare(mailbox: str) -> str:
    """Return the address of a mailbox as tools write it."""
    return mailbox.rpartition("<")[2].removesuffix(">")


@asynccontextmanager
async def front(folder: Path, sink: SmtpSink, database_url: str, **more: object) -> AsyncIterator[Front]:
    """Run an outspool that keeps its data in `folder`; named settings go by their variables."""
    worker = bool(more.pop("worker", True))
    more = {"EMAIL_FROM": "Outspool Test <me@example.com>", **more}
    app = Outspool(Settings.load(variables(folder, sink, database_url, **more)))
    async with app.run(worker=worker):
        server = build_server(app.outbox_for)
        yield Front(app=app, sink=sink, server=server, context=await _context(server))


async def _context(server: MCPServer[object]) -> Context[Any, Any]:
    """Return the context of a client's request."""
    contexts: list[Context[Any, Any]] = []

    def introduce(context: Context[Any, Any]) -> None:
        contexts.append(context)

    server.add_tool(introduce)
    async with Client(server) as client:
        await client.call_tool("introduce", {})
    server.remove_tool("introduce")
    return contexts[0]
