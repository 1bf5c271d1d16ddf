"""Scheduled email is sent once and on time, however many SSE clients are connected: none, or three.

A server that ran its scheduler once per connection would send nothing with none, and three times with three.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest
from support.stage import OpenStage, Session


@pytest.mark.parametrize("clients", [0, 3])
async def test_a_scheduled_email_leaves_once_and_on_time_with_so_many_sse_clients(
    stages: OpenStage, clients: int
) -> None:
    over_sse = stages("http").reached_by("sse", "legacy")
    once = over_sse.reached_by("streamable-http", "auto")
    fence = over_sse.reached_by("streamable-http", "auto")
    async with AsyncExitStack() as connections:
        sessions: list[Session] = [await connections.enter_async_context(over_sse.session()) for _ in range(clients)]
        async with once.session() as session:
            email = await session.call("schedule_email", **once.message(delay="PT2S"))
            await session.call("schedule_email", **fence.message(delay="PT4S"))
        await fence.arrival()
        for connected in sessions:
            assert (await connected.call("get_status", email_id=email["id"]))["status"] == "sent"
    [mail] = once.received()
    assert timedelta(0) <= mail.at - datetime.fromisoformat(email["scheduled_at"]) < timedelta(seconds=3)
