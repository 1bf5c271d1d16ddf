"""Subscriptions: one task per email, however many followers, and none that outlives them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.mcp import subscriptions
from outspool.mcp.server import build_server
from outspool.services.acceptance.validation import EmailRequest

EMAIL = EmailRequest(to=["ada@example.com"], subject="Hello", body="Hi")


@pytest.fixture
async def outspool(tmp_path: Path) -> AsyncIterator[Outspool]:
    """Return a running outspool whose emails nobody sends."""
    outspool = Outspool(Settings(OUTSPOOL_DATA_DIR=tmp_path, OUTSPOOL_SANDBOX=True))
    async with outspool.run(worker=False):
        yield outspool


@asynccontextmanager
async def connected(outspool: Outspool, mode: str) -> AsyncIterator[Client]:
    async with Client(build_server(outspool.outbox_for), mode=mode) as client:
        yield client


def followed() -> set[str]:
    """Return the tasks that look at an email now."""
    return {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("follow ")}


async def settled() -> None:
    """Let what was canceled end."""
    async with asyncio.timeout(10):
        while followed():
            await asyncio.sleep(0.01)


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
async def test_whoever_goes_away_follows_nothing_any_more(outspool: Outspool) -> None:
    uris = [f"email://{(await outspool.outbox.accept(EMAIL)).id}" for _ in range(3)]
    async with connected(outspool, "legacy") as client:
        for uri in uris:
            await client.subscribe_resource(uri)
        assert len(followed()) == 3
        await client.unsubscribe_resource(uris[0])
        assert followed() == {f"follow {uri}" for uri in uris[1:]}
    await settled()


async def test_two_streams_share_one_look_at_an_email_and_leave_none_behind(outspool: Outspool) -> None:
    email = await outspool.outbox.accept(EMAIL)
    uri = f"email://{email.id}"
    async with connected(outspool, "auto") as client:
        async with (
            client.listen(resource_subscriptions=[uri, "email://x", "template://report"]) as one,
            client.listen(resource_subscriptions=[uri]) as two,
        ):
            assert followed() == {f"follow {uri}"}
            await outspool.outbox.cancel(str(email.id))
            async with asyncio.timeout(10):
                await anext(aiter(one))
                await anext(aiter(two))
        await settled()


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
async def test_so_many_emails_may_be_followed_and_no_more(outspool: Outspool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST_FOLLOWED", 2)
    uris = [f"email://{(await outspool.outbox.accept(EMAIL)).id}" for _ in range(3)]
    async with connected(outspool, "legacy") as client:
        for uri in uris[:2]:
            await client.subscribe_resource(uri)
        with pytest.raises(MCPError, match="2 emails are followed already"):
            await client.subscribe_resource(uris[2])
        await client.unsubscribe_resource(uris[0])
        await client.subscribe_resource(uris[2])
    await settled()
