"""Two senders, two users and the sandbox on one database: none can reach another's mail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference
from support.stage import OUTSPOOL, Session, Stage

WARNS = "ignore::mcp.MCPDeprecationWarning"
"""Subscribing by ``resources/subscribe`` is what clients of the handshake era do."""

STRANGERS = {
    "another sender": {"EMAIL_FROM": "Bea <bea@example.com>"},
    "another user": {"OUTSPOOL_USER": "bea"},
    "another user and sender": {"OUTSPOOL_USER": "bea", "EMAIL_FROM": "Bea <bea@example.com>"},
    "the sandbox": {"OUTSPOOL_SANDBOX": "1"},
}


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest) -> Stage:
    opened = request.getfixturevalue(f"{request.param}_stages")
    found: Stage = opened("stdio").reached_by("stdio", "legacy")
    return found


async def attempt_everything(stranger: Session, email_id: str, topic: str) -> dict[str, str]:
    """Return what each way to reach an email by its id answers."""
    said = {
        tool: await stranger.refused(tool, email_id=email_id, **more)
        for tool, more in {
            "get_status": {},
            "update_email": {"body": "You won a prize."},
            "cancel_email": {},
            "retry_email": {},
        }.items()
    }
    for uri in (f"email://{email_id}", f"email://{email_id}/raw"):
        with pytest.raises(MCPError) as refusal:
            await stranger.client.read_resource(uri)
        said[uri.replace(email_id, "ID")] = str(refusal.value)
    with pytest.raises(MCPError) as refusal:
        await stranger.client.session.subscribe_resource(f"email://{email_id}")
    said["subscribe"] = str(refusal.value)
    for filters in ({}, {"query": topic}, {"recipient": "ada@example.com"}, {"tag": topic}, {"status": "scheduled"}):
        page = await stranger.call("list_emails", **filters)
        assert email_id not in json.dumps(page)
        assert topic not in json.dumps(page)
        assert "scheduled" not in page["counts"]
    reference = ResourceTemplateReference(type="ref/resource", uri="email://{email_id}")
    found = await stranger.client.complete(reference, {"name": "email_id", "value": email_id[:8]})
    assert email_id not in found.completion.values
    return said


@pytest.mark.filterwarnings(WARNS)
@pytest.mark.parametrize("stranger", STRANGERS)
async def test_another_callers_email_is_not_found_by_any_way(stage: Stage, stranger: str) -> None:
    message: dict[str, Any] = stage.message(bcc=["eve@example.com"], tags=[stage.topic], delay="PT1H")
    async with stage.session(OUTSPOOL_USER="owner") as owner:
        email = await owner.call("schedule_email", **message)
        async with stage.session(**{"OUTSPOOL_USER": "owner", **STRANGERS[stranger]}) as other:
            said = await attempt_everything(other, email["id"], stage.topic)
        assert {way: text for way, text in said.items() if "not_found" not in text} == {}
        assert not [text for text in said.values() if "eve@example.com" in text]
        untouched = await owner.call("get_status", email_id=email["id"])
        assert (untouched["status"], len(untouched["events"])) == ("scheduled", 1)
        assert stage.topic in json.dumps(await owner.call("list_emails", tag=stage.topic))
        await owner.call("cancel_email", email_id=email["id"])


async def test_a_key_is_its_owners_and_tells_others_nothing(stage: Stage) -> None:
    message = stage.message(delay="PT1H", idempotency_key=stage.topic)
    async with stage.session(OUTSPOOL_USER="owner") as owner, stage.session(OUTSPOOL_USER="bea") as other:
        first = await owner.call("schedule_email", **message)
        assert (await owner.call("schedule_email", **message))["id"] == first["id"]
        own = await other.call("schedule_email", **message)
        assert own["id"] != first["id"]
        another = await other.refused("schedule_email", **{**message, "body": "Something else."})
        assert "idempotency_conflict" in another
        assert first["id"] not in another
        for session, email in ((owner, first), (other, own)):
            await session.call("cancel_email", email_id=email["id"])


async def run(stage: Stage, *arguments: str) -> str:
    """Run a command as an operator would, and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *OUTSPOOL, *arguments, env=dict(stage.environment), cwd=stage.folder, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def test_the_command_line_sees_everybodys_mail_and_says_whose_it_is(stage: Stage) -> None:
    async with stage.session(OUTSPOOL_USER="owner") as owner:
        email = await owner.call("schedule_email", **stage.message(delay="PT1H"))
        assert not {"owner", "agent"} & email.keys()
        shown = json.loads(await run(stage, "show", email["id"], "--json"))
        assert (shown["owner"], shown["events"][0]["by"].split(" ")[0]) == ("owner", "owner")
        assert shown["agent"]
        assert "owner" in await run(stage, "show", email["id"])
        canceled = json.loads(await run(stage, "cancel", email["id"], "--json"))
        assert canceled["status"] == "canceled"
        status = await owner.call("get_status", email_id=email["id"])
        assert status["status"] == "canceled"
        assert not [event for event in status["events"] if "by" in event]
        assert json.loads(await run(stage, "show", email["id"], "--json"))["events"][-1]["by"] == "local (command line)"
