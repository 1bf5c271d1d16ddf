"""Resources, completion, subscriptions and the prompt, through real clients."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp.client.session import IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import (
    PromptReference,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
    TextContent,
    TextResourceContents,
)
from support.stage import Session, Stage

WARNS = "ignore::mcp.MCPDeprecationWarning"
"""Subscribing by ``resources/subscribe`` is what clients of the handshake era do."""


async def read(session: Session, uri: str) -> TextResourceContents:
    result = await session.client.read_resource(uri)
    [content] = result.contents
    assert isinstance(content, TextResourceContents)
    assert str(content.uri) == uri
    return content


async def refused(session: Session, uri: str) -> str:
    with pytest.raises(MCPError) as refusal:
        await session.client.read_resource(uri)
    return str(refusal.value)


async def test_an_email_reads_as_get_status_shows_it_and_raw_as_it_went_on_the_wire(far_apart: Stage) -> None:
    asked = far_apart.message(
        "ada@example.com", "refuse-bob@example.com", bcc=["eve@example.com"], body="Grüße.\n.\nFrom me", html="<p>Grüße"
    )
    async with far_apart.session() as session:
        email = await session.call("send_email", **asked)
        status = await session.call("get_status", email_id=email["id"])
        shown = await read(session, f"email://{email['id']}")
        raw = await read(session, f"email://{email['id']}/raw")
    assert shown.mime_type == "application/json"
    assert json.loads(shown.text) == status
    assert raw.mime_type == "message/rfc822"
    [mail] = far_apart.received()
    assert raw.text.encode() == mail.raw
    assert "eve@example.com" not in raw.text


async def test_the_raw_message_of_an_email_that_waits_follows_its_changes(served: Stage) -> None:
    async with served.session() as session:
        email = await session.call("schedule_email", **served.message(delay="PT1H"))
        uri = f"email://{email['id']}/raw"
        assert "Good day." in (await read(session, uri)).text
        await session.call("update_email", email_id=email["id"], body="Good night.")
        assert "Good night." in (await read(session, uri)).text
        await session.call("cancel_email", email_id=email["id"])


async def test_a_template_reads_with_its_files(served: Stage) -> None:
    async with served.session() as session:
        content = await read(session, "template://report")
        listed = await session.call("list_templates")
    shown = json.loads(content.text)
    assert shown.pop("files").keys() == {"report.html", "report.txt"}
    assert shown in listed["templates"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("email://01890000-0000-7000-8000-000000000000", "not_found: There is no email"),
        ("email://01890000-0000-7000-8000-000000000000/raw", "not_found: There is no email"),
        ("email://nonsense", 'invalid_argument: "nonsense" is not an email id.'),
        ("template://reprot", 'template_error: There is no template "reprot". Did you mean "report"?'),
        ("template://..%2F..%2Fetc%2Fpasswd", "Unknown resource"),
        ("template://_layout", "template_error: There is no template"),
        ("file:///etc/passwd", "Unknown resource"),
    ],
)
async def test_what_cannot_be_read_is_said_as_a_tool_would(served: Stage, uri: str, said: str) -> None:
    async with served.session() as session:
        assert said in await refused(session, uri)


async def test_the_kinds_of_resources_are_listed_and_ids_and_names_completed(far_apart: Stage) -> None:
    async with far_apart.session() as session:
        listed = (await session.client.list_resource_templates()).resource_templates
        email = await session.call("schedule_email", **far_apart.message(delay="PT1H"))
        of_emails = ResourceTemplateReference(uri="email://{email_id}")
        of_templates = ResourceTemplateReference(uri="template://{name}")
        prompt = PromptReference(name="compose_email")

        async def completed(reference: Any, name: str, value: str) -> list[str]:
            completion = (await session.client.complete(reference, {"name": name, "value": value})).completion
            assert len(completion.values) <= 100
            return list(completion.values)

        assert (await completed(of_emails, "email_id", ""))[0] == email["id"]
        assert email["id"] in await completed(of_emails, "email_id", email["id"][:20].upper())
        assert await completed(of_emails, "email_id", "zzz") == []
        assert await completed(of_templates, "name", "rep") == ["report"]
        assert "notification" in await completed(prompt, "template", "")
        assert await completed(prompt, "about", "x") == []
        await session.call("cancel_email", email_id=email["id"])
    uris = {template.uri_template for template in listed}
    assert uris == {"email://{email_id}", "email://{email_id}/raw", "template://{name}"}


async def test_the_prompt_asks_for_a_preview_before_anything_is_sent(served: Stage) -> None:
    async with served.session() as session:
        [prompt] = (await session.client.list_prompts()).prompts
        plain = await session.client.get_prompt("compose_email", {"about": "the move"})
        full = await session.client.get_prompt(
            "compose_email", {"about": "the move", "to": "ada@example.com", "when": "on Monday", "template": "report"}
        )
    assert [(argument.name, argument.required) for argument in prompt.arguments or ()] == [
        ("about", True),
        ("to", False),
        ("when", False),
        ("template", False),
    ]
    texts = [
        str(message.content.text)
        for got in (plain, full)
        for message in got.messages
        if isinstance(message.content, TextContent)
    ]
    assert "Call send_email with preview=true" in texts[0]
    assert "never guess an address" in texts[0]
    assert "Call schedule_email with preview=true" in texts[1]
    assert "To: ada@example.com" in texts[1]


class Ear:
    """Hears which resources changed."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    async def __call__(self, message: IncomingMessage) -> None:
        if isinstance(message, ResourceUpdatedNotification):
            self.heard.put_nowait(str(message.params.uri))

    async def next(self) -> str:
        async with asyncio.timeout(20):
            return await self.heard.get()


@pytest.mark.filterwarnings(WARNS)
async def test_a_client_of_the_handshake_era_is_told_of_each_change_until_it_unsubscribes(early: Stage) -> None:
    ear = Ear()
    async with early.session(ear) as session, early.session() as other:
        email = await session.call("schedule_email", **early.message(delay="PT1H"))
        uri = f"email://{email['id']}"
        await session.client.subscribe_resource(uri)
        await session.client.subscribe_resource(uri)
        await other.call("update_email", email_id=email["id"], body="Later.")
        assert await ear.next() == uri
        await session.call("update_email", email_id=email["id"], delay="PT1S")
        assert await ear.next() == uri
        await session.until(email["id"], "sent")
        while json.loads((await read(session, uri)).text)["status"] != "sent":
            assert await ear.next() == uri
        await session.client.unsubscribe_resource(uri)
        await session.client.unsubscribe_resource(uri)


@pytest.mark.filterwarnings(WARNS)
async def test_what_does_not_exist_cannot_be_subscribed_to(served: Stage) -> None:
    early = served.reached_by("streamable-http", "legacy")
    async with early.session() as session:
        for uri in ("email://01890000-0000-7000-8000-000000000000", "email://x", "template://report", "file:///x"):
            with pytest.raises(MCPError, match=r"not_found|invalid_argument"):
                await session.client.subscribe_resource(uri)


async def test_a_client_of_the_later_era_listens_to_changes_from_another_process(late: Stage) -> None:
    async with late.session() as session, late.session() as other:
        email = await session.call("schedule_email", **late.message(delay="PT1H"))
        uri = f"email://{email['id']}"
        gone = "email://01890000-0000-7000-8000-000000000000"
        async with session.client.listen(resource_subscriptions=[uri, gone]) as events:
            await other.call("cancel_email", email_id=email["id"])
            async with asyncio.timeout(20):
                event = await anext(aiter(events))
        assert event == ResourceUpdated(uri=uri)
        assert json.loads((await read(session, uri)).text)["status"] == "canceled"
