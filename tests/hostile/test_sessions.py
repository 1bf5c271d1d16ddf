"""HTTP sessions of vanished clients end and free their resources; one client cannot use up shared limits."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import SubscribeRequestParams, UnsubscribeRequestParams

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.http.asgi import build_app
from outspool.http.limits import HttpLimits
from outspool.mcp import subscriptions
from outspool.mcp.server import build_server
from outspool.services.acceptance.validation import EmailRequest

HEADERS = {"Accept": "application/json, text/event-stream"}
NUMBERS = itertools.count(1)
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


@pytest.fixture
async def outspool(tmp_path: Path) -> AsyncIterator[Outspool]:
    """Return a running outspool whose emails nobody sends."""
    outspool = Outspool(Settings.load({"OUTSPOOL_DATA_DIR": tmp_path, "OUTSPOOL_SANDBOX": True}))
    async with outspool.run(worker=False):
        yield outspool


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def serving(outspool: Outspool, **limits: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(build_server(outspool.outbox_for), lifespan_context=nothing, limits=HttpLimits(**limits))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            yield http


async def ask(http: httpx.AsyncClient, session: str, method: str, **params: Any) -> httpx.Response:
    headers = {**HEADERS, **({"Mcp-Session-Id": session} if session else {})}
    return await http.post(
        "/mcp", headers=headers, json={"jsonrpc": "2.0", "id": next(NUMBERS), "method": method, "params": params}
    )


async def opened(http: httpx.AsyncClient) -> str:
    """Open a session, and never close it."""
    answer = await ask(http, "", "initialize", **INITIALIZE)
    session = answer.headers["mcp-session-id"]
    await http.post(
        "/mcp",
        headers={**HEADERS, "Mcp-Session-Id": session},
        json={"jsonrpc": "2.0", "method": "notifications/initialized"},
    )
    return session


def said(answer: httpx.Response) -> dict[str, Any]:
    [line] = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    found: dict[str, Any] = json.loads(line.removeprefix("data: "))
    return found


def followed() -> int:
    return len([task for task in asyncio.all_tasks() if task.get_name().startswith("follow ")])


async def uris(outspool: Outspool, number: int) -> list[str]:
    draft = EmailRequest(to=["ada@example.com"], subject="s", body="b")
    return [f"email://{(await outspool.outbox.accept(draft)).id}" for _ in range(number)]


async def test_an_abandoned_session_ends_and_gives_back_what_it_followed(outspool: Outspool) -> None:
    async with serving(outspool, session_idle_seconds=2) as http:
        session = await opened(http)
        for uri in await uris(outspool, 5):
            assert "error" not in said(await ask(http, session, "resources/subscribe", uri=uri))
        assert followed() == 5
        async with asyncio.timeout(10):
            while followed():
                await asyncio.sleep(0.02)
        assert (await ask(http, session, "ping")).status_code == 404
        assert (await ask(http, await opened(http), "ping")).status_code == 200


async def test_a_session_that_is_used_does_not_end(outspool: Outspool) -> None:
    async with serving(outspool, session_idle_seconds=1.0) as http:
        session = await opened(http)
        ended = asyncio.get_running_loop().time() + 2.5
        while asyncio.get_running_loop().time() < ended:
            assert (await ask(http, session, "ping")).status_code == 200
            await asyncio.sleep(0.2)


async def test_one_session_cannot_follow_all_that_may_be_followed(outspool: Outspool) -> None:
    many = await uris(outspool, subscriptions.MOST_FOLLOWED_BY_ONE + 1)
    async with serving(outspool) as http:
        greedy, other = await opened(http), await opened(http)
        for uri in many[:-1]:
            assert "error" not in said(await ask(http, greedy, "resources/subscribe", uri=uri))
        refused = said(await ask(http, greedy, "resources/subscribe", uri=many[-1]))
        assert "This session follows 25 emails already" in refused["error"]["message"]
        assert "error" not in said(await ask(http, other, "resources/subscribe", uri=many[-1]))
        await ask(http, greedy, "resources/unsubscribe", uri=many[0])
        assert "error" not in said(await ask(http, greedy, "resources/subscribe", uri=many[-1]))


async def test_subscriptions_at_once_do_not_get_past_the_limit(outspool: Outspool) -> None:
    many = await uris(outspool, 60)
    async with serving(outspool) as http:
        session = await opened(http)
        answers = await asyncio.gather(*(ask(http, session, "resources/subscribe", uri=uri) for uri in many))
        taken = [answer for answer in answers if "error" not in said(answer)]
        assert len(taken) == followed() == subscriptions.MOST_FOLLOWED_BY_ONE


async def test_one_stream_cannot_follow_all_that_may_be_followed(outspool: Outspool) -> None:
    many = await uris(outspool, 60)
    async with (
        Client(build_server(outspool.outbox_for), mode="auto") as client,
        client.listen(resource_subscriptions=many),
    ):
        assert followed() == subscriptions.MOST_FOLLOWED_BY_ONE


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
async def test_what_is_refused_or_given_up_leaves_nothing_behind(outspool: Outspool) -> None:
    [uri] = await uris(outspool, 1)
    server = build_server(outspool.outbox_for)
    kept: list[Any] = []
    original = subscriptions.Subscriptions.subscribe

    async def spy(self: Any, ctx: Any, params: Any) -> Any:
        kept.append(ctx.session._connection)
        return await original(self, ctx, params)

    server._lowlevel_server.add_request_handler(
        "resources/subscribe",
        SubscribeRequestParams,
        lambda ctx, params: spy(server_subscriptions, ctx, params),
    )
    server_subscriptions = subscriptions.Subscriptions(outspool.outbox_for, str)
    server._lowlevel_server.add_request_handler(
        "resources/unsubscribe", UnsubscribeRequestParams, server_subscriptions.unsubscribe
    )
    async with Client(server, mode="legacy") as client:
        for _ in range(50):
            await client.subscribe_resource(uri)
            await client.unsubscribe_resource(uri)
            with pytest.raises(MCPError):
                await client.subscribe_resource("email://nothing")
        assert len(kept[0].exit_stack._exit_callbacks) == 1
        assert kept[0].state[subscriptions._STATE] == {}
        await client.subscribe_resource(uri)
        assert followed() == 1
    async with asyncio.timeout(10):
        while followed():
            await asyncio.sleep(0.02)


async def test_no_more_sessions_are_opened_than_there_is_memory_for(outspool: Outspool) -> None:
    async with serving(outspool, sessions=3) as http:
        sessions = [await opened(http) for _ in range(3)]
        assert (await ask(http, "", "initialize", **INITIALIZE)).status_code == 503
        assert (await ask(http, sessions[0], "ping")).status_code == 200
