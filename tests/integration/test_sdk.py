"""Each used internal of the MCP SDK behaves as assumed, in the installed version."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import EmptyResult, Implementation, SubscribeRequestParams, jsonrpc_message_adapter

import outspool
from outspool.mcp import sdk

SOURCES = Path(outspool.__file__).parent
WARNS = "ignore::mcp.MCPDeprecationWarning"
"""``resources/subscribe`` is what clients of the handshake era send."""

Handler = Any


@asynccontextmanager
async def connected(handler: Handler, **identity: str) -> AsyncIterator[Client]:
    """Connect a client of the handshake era to a server whose ``resources/subscribe`` is `handler`."""
    server: MCPServer[object] = MCPServer("test")
    sdk.add_request_handler(server, "resources/subscribe", SubscribeRequestParams, handler)
    info = Implementation(**identity) if identity else None
    async with Client(server, mode="legacy", client_info=info) as client:
        yield client


@pytest.mark.filterwarnings(WARNS)
async def test_a_method_without_a_decorator_is_served() -> None:
    uris = []

    async def subscribe(_ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams) -> EmptyResult:
        uris.append(str(params.uri))
        return EmptyResult()

    async with connected(subscribe) as client:
        await client.session.subscribe_resource("email://1")
    assert uris == ["email://1"]


@pytest.mark.filterwarnings(WARNS)
async def test_a_connection_keeps_its_state_over_requests_and_unwinds_when_it_ends() -> None:
    counts: list[int] = []
    ended: list[int] = []

    async def subscribe(ctx: ServerRequestContext[Any, Any], _params: SubscribeRequestParams) -> EmptyResult:
        connection = sdk.connection_of(ctx.session)
        connection.state["count"] = connection.state.get("count", 0) + 1
        counts.append(connection.state["count"])
        connection.exit_stack.callback(ended.append, counts[-1])
        return EmptyResult()

    async with connected(subscribe) as client:
        await client.session.subscribe_resource("email://1")
        await client.session.subscribe_resource("email://2")
        assert ended == []
    assert counts == [1, 2]
    assert ended == [2, 1]


@pytest.mark.filterwarnings(WARNS)
async def test_a_client_is_known_by_the_name_it_gives_made_printable() -> None:
    names = []

    async def subscribe(ctx: ServerRequestContext[Any, Any], _params: SubscribeRequestParams) -> EmptyResult:
        names.append(sdk.client_of(ctx.session))
        return EmptyResult()

    async with connected(subscribe, name="cl\x1baude\n" + "x" * 500, version="1.0") as client:
        await client.session.subscribe_resource("email://1")
    [(name, version)] = names
    assert name.startswith("cl\N{REPLACEMENT CHARACTER}aude\N{REPLACEMENT CHARACTER}xx")
    assert len(name) == 100
    assert version == "1.0"


async def test_a_server_answers_over_streams_of_ours() -> None:
    server: MCPServer[object] = MCPServer("test")
    incoming, messages = anyio.create_memory_object_stream[SessionMessage | Exception](1)
    answers, outgoing = anyio.create_memory_object_stream[SessionMessage](1)
    ping = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sdk.run_over_streams, server, messages, answers)
        await incoming.send(SessionMessage(jsonrpc_message_adapter.validate_python(ping)))
        answer = (await outgoing.receive()).message.model_dump()
        incoming.close()
        outgoing.close()
    for stream in (messages, answers):
        stream.close()
    assert answer["id"] == 7


def test_metadata_declares_the_output_schema_and_takes_no_arguments_of_its_own() -> None:
    schema = {"type": "object", "properties": {"id": {"type": "string"}}}
    metadata = sdk.make_metadata(schema)
    assert metadata.output_schema == schema
    assert metadata.arg_model.model_fields == {}


def test_no_other_module_touches_the_inside_of_the_sdk() -> None:
    inside = re.compile(r"mcp\.server\.(mcpserver\.(tools|utilities)|lowlevel)|\b(server|session|ctx|context)\._[a-z]")
    found = [
        str(path.relative_to(SOURCES))
        for path in sorted(SOURCES.rglob("*.py"))
        if path.relative_to(SOURCES) != Path("mcp/sdk.py") and inside.search(path.read_text())
    ]
    assert found == []
