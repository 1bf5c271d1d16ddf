"""A client that gave up waiting and calls again: the first email is returned, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CancelledNotification, CancelledNotificationParams
from support.stage import OUTSPOOL, Session, Stage


async def _abandon(session: Session, stage: Stage, tool: str, arguments: dict[str, Any]) -> None:
    """Call a tool, and cancel the call as soon as its emails are there."""
    before = len(await _list(session, stage))
    call = asyncio.create_task(session.client.session.call_tool(tool, arguments))
    while len(await _list(session, stage)) == before:
        await asyncio.sleep(0.05)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


@contextlib.asynccontextmanager
async def _slow_sink(stage: Stage) -> AsyncIterator[None]:
    """Let the mail server hold what it is given until the end of the block."""
    stage.sink.fail(mail="hold")
    try:
        yield
    finally:
        stage.sink.fail()


async def _list(session: Session, stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await session.call("list_emails", query=stage.topic))["emails"]
    return found


async def test_a_repeat_of_a_call_that_timed_out_returns_its_email(stage: Stage) -> None:
    arguments = stage.message(wait=20)
    async with stage.session() as session, _slow_sink(stage):
        await _abandon(session, stage, "send_email", arguments)
        again = await session.call("send_email", **{**arguments, "wait": 0})
        [email] = await _list(session, stage)
    assert again["id"] == email["id"]
    assert any("same call" in note for note in again["notes"])
    assert len(await stage.arrival()) == 1


async def test_a_repeat_after_an_answered_repeat_is_a_new_email(far_apart: Stage) -> None:
    arguments = far_apart.message(wait=20)
    async with far_apart.session() as session, _slow_sink(far_apart):
        await _abandon(session, far_apart, "send_email", arguments)
        second = await session.call("send_email", **{**arguments, "wait": 0})
        third = await session.call("send_email", **{**arguments, "wait": 0})
        emails = await _list(session, far_apart)
    assert third["id"] != second["id"]
    assert len(emails) == 2
    assert "notes" not in third


async def test_a_repeat_that_is_abandoned_too_is_remembered_again(served: Stage) -> None:
    arguments = served.message(wait=20)
    async with served.session() as session, _slow_sink(served):
        await _abandon(session, served, "send_email", arguments)
        with pytest.raises(MCPError, match=r"(?i)timed out"):
            await session.client.session.call_tool("send_email", arguments, read_timeout_seconds=1)
        again = await session.call("send_email", **{**arguments, "wait": 0})
        [email] = await _list(session, served)
    assert again["id"] == email["id"]


async def test_another_text_is_another_email(served: Stage) -> None:
    async with served.session() as session, _slow_sink(served):
        await _abandon(session, served, "send_email", served.message(wait=20))
        other = await session.call("send_email", **served.message(body="Another text.", wait=0))
        emails = await _list(session, served)
    assert "notes" not in other
    assert len(emails) == 2


async def test_batches_and_schedules_are_recognised_too(served: Stage) -> None:
    batch = {
        "emails": [{"to": f"b{n}@example.com"} for n in range(3)],
        "shared": {"subject": served.topic, "body": "x"},
    }
    async with served.session() as session, _slow_sink(served):
        await _abandon(session, served, "send_batch", {**batch, "wait": 20})
        again = await session.call("send_batch", **batch, wait=0)
        accepted = await _list(session, served)
    assert len(accepted) == 3
    assert {email["id"] for email in again["emails"]} == {email["id"] for email in accepted}
    assert "same call" in again["notes"][0]


async def test_a_cancellation_that_crosses_the_answer_counts(early: Stage) -> None:
    arguments = early.message(delay="PT1H")
    async with early.session() as session:
        first = await session.call("schedule_email", **arguments)
        for request_id in range(1, 20):  # the client does not tell which id the call had
            cancelled = CancelledNotificationParams(request_id=request_id)
            await session.client.session.send_notification(CancelledNotification(params=cancelled))
        again = await session.call("schedule_email", **arguments)
        await session.call("cancel_email", email_id=first["id"])
    assert again["id"] == first["id"]


async def test_an_answer_that_found_nobody_counts_for_another_process_too(stdio: Stage) -> None:
    arguments = stdio.message(wait=20)
    async with _slow_sink(stdio):
        request = {"jsonrpc": "2.0", "id": 2, "method": "tools/call"}
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "mcp", "version": "0.1.0"},
            },
        }
        call = {**request, "params": {"name": "send_email", "arguments": arguments}}
        with (stdio.folder / "left.log").open("w") as log:
            program = subprocess.Popen(  # noqa: ASYNC220 - what starts it does not wait
                OUTSPOOL,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=dict(stdio.environment),
                cwd=stdio.folder,
            )
        assert program.stdin is not None
        assert program.stdout is not None
        lines = [hello, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call]
        program.stdin.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        program.stdin.flush()
        program.stdout.readline()
        async with stdio.session() as session:
            while not await _list(session, stdio):
                await asyncio.sleep(0.05)
            program.stdin.close()
            program.stdout.close()
            assert await asyncio.to_thread(program.wait, 30) == 0
            again = await session.call("send_email", **{**arguments, "wait": 0})
            emails = await _list(session, stdio)
        assert [email["id"] for email in emails] == [again["id"]]


async def test_a_lost_http_connection_counts(served: Stage) -> None:
    arguments = served.message(wait=20)
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    async with served.session() as session, _slow_sink(served):
        async with httpx.AsyncClient(base_url=served.url or "", headers=headers) as http:
            hello = {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "mcp", "version": "0.1.0"},
            }
            begun = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
            headers["mcp-session-id"] = begun.headers["mcp-session-id"]
            call = {"name": "send_email", "arguments": arguments}
            request = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
            posting = asyncio.create_task(http.post("/mcp", json=request, headers=headers))
            while not await _list(session, served):
                await asyncio.sleep(0.05)
            posting.cancel()
        again = await session.call("send_email", **{**arguments, "wait": 0})
        emails = await _list(session, served)
    assert [email["id"] for email in emails] == [again["id"]]
