"""The tools' schemas and argument errors, without an outbox."""

from __future__ import annotations

import json
import logging
from typing import Any, cast

import pytest
from mcp.client import Client
from mcp_types import TextContent, Tool
from pydantic import BaseModel, Field

from outspool.api.schema import input_schema
from outspool.mcp.server import INSTRUCTIONS, build_server
from outspool.services.acceptance.outbox import Outbox

NO_OUTBOX = cast(Outbox, None)
"""Refused calls never touch the outbox; one that does crashes, which is a test of its own below."""

NAMES = [
    "send_email",
    "schedule_email",
    "get_status",
    "list_emails",
    "update_email",
    "cancel_email",
    "retry_email",
    "send_batch",
    "list_templates",
]


def connect(mode: str = "legacy") -> Client:
    return Client(build_server(lambda _name, _version: NO_OUTBOX), mode=mode)


async def tools(mode: str = "legacy") -> dict[str, Tool]:
    async with connect(mode) as client:
        return {tool.name: tool for tool in (await client.list_tools()).tools}


async def refused(tool: str, arguments: dict[str, Any], mode: str = "legacy") -> str:
    """Call, expect an error, and return its text."""
    async with connect(mode) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    assert len(result.content) == 1
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def message(**more: Any) -> dict[str, Any]:
    return {"to": ["a@example.com"], "subject": "Hello", "body": "Hi", **more}


async def test_there_are_exactly_these_tools() -> None:
    assert list(await tools()) == NAMES


async def test_the_whole_tool_list_stays_under_3300_tokens() -> None:
    async with connect() as client:
        listed = (await client.list_tools()).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert len(json.dumps(listed, ensure_ascii=False, separators=(",", ":"))) / 4 < 3300
    assert len(INSTRUCTIONS) / 4 < 150


async def test_every_tool_is_described_titled_and_annotated() -> None:
    for tool in (await tools()).values():
        assert tool.title
        assert tool.description
        hints = tool.annotations
        assert hints is not None
        assert None not in (hints.read_only_hint, hints.destructive_hint)


async def test_only_looking_is_read_only() -> None:
    read_only = {name for name, tool in (await tools()).items() if tool.annotations and tool.annotations.read_only_hint}
    assert read_only == {"get_status", "list_emails", "list_templates"}


async def test_input_schemas_are_closed_and_compact() -> None:
    for tool in (await tools()).values():
        assert tool.input_schema["additionalProperties"] is False
        text = json.dumps([tool.input_schema, tool.output_schema])
        assert '"title"' not in text
        assert "$ref" not in text
        assert "from_" not in text


async def test_wait_belongs_to_send_and_times_belong_to_schedule_and_update() -> None:
    properties = {name: tool.input_schema["properties"].keys() for name, tool in (await tools()).items()}
    times = {"scheduled_at", "timezone", "delay"}
    assert {name for name in NAMES if "wait" in properties[name]} == {"send_email", "send_batch"}
    assert {name for name in NAMES if times <= properties[name]} == {"schedule_email", "update_email"}


@pytest.mark.parametrize(
    ("tool", "wrong", "meant"),
    [
        ("schedule_email", "schedule_at", 'Did you mean "scheduled_at"?'),
        ("send_email", "bbc", 'Did you mean "bcc"?'),
        ("send_email", "text", 'Did you mean "body"?'),
        ("send_email", "Subject", 'Did you mean "subject"?'),
        ("send_email", "reply-to", 'Did you mean "reply_to"?'),
        ("send_email", "from_", 'Did you mean "from"?'),
        ("send_email", "schedule_at", '"scheduled_at" is an argument of schedule_email: call that instead.'),
        ("send_email", "recurrence", '"recurrence" is an argument of schedule_email: call that instead.'),
        ("send_email", "files", 'Did you mean "attachments"?'),
        ("send_email", "colour", "Known are: to, subject, body,"),
    ],
)
async def test_an_unknown_argument_is_refused_with_the_right_name(tool: str, wrong: str, meant: str) -> None:
    text = await refused(tool, message(**{wrong: "x"}))
    assert text.startswith(f'invalid_argument: unknown argument "{wrong}". {meant}')
    assert text.endswith("Nothing was sent." if tool == "send_email" else "Nothing was scheduled.")


async def test_an_unknown_argument_outranks_a_missing_one() -> None:
    assert 'unknown argument "recipient". Did you mean "to"?' in await refused("send_email", {"recipient": "x"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "to is required."),
        ({"to": ["a@example.com"]}, "subject is required."),
        (message(to=[1]), "to[0] must be a string."),
        (message(to={}), "to must be a list of strings."),
        (message(to=None), "to is required."),
        ({"to": ["a@example.com"], "subject": None}, "subject is required."),
        (message(preview="soon"), "preview must be true or false."),
        (message(variables=["a"]), "variables must be an object."),
        (message(subject=42), "subject must be a string."),
        (message(subject=["x"]), "subject must be a string."),
        (message(body=True), "body must be a string."),
        (message(cc=["x", None]), "cc[1] must be a string."),
        (message(headers={"X-A": 1}), 'headers["X-A"] must be a string.'),
        (message(headers=["X-A: 1"]), "headers must be an object."),
        (message(priority="urgent"), "priority must be one of low, normal or high."),
        (message(wait=61), "wait must be at most 50."),
        (message(wait=-1), "wait must be at least 0."),
        (message(wait="soon"), "wait must be a number."),
        (message(wait="NaN"), "wait must be a"),
        (message(wait=True), "wait must be a number."),
    ],
)
async def test_a_wrong_type_is_named_in_one_sentence(arguments: dict[str, Any], said: str) -> None:
    text = await refused("send_email", arguments)
    assert text.startswith(f"invalid_argument: {said}")
    assert text.endswith("Nothing was sent.")


async def test_a_refusal_never_echoes_a_value_at_length_or_a_library() -> None:
    for arguments in (
        message(subject=["s3cr3t" * 1000]),
        message(**{"x" * 100_000: 1}),
        message(headers={"k" * 9999: 1}),
    ):
        text = await refused("send_email", arguments)
        assert len(text) < 400
        assert "s3cr3t" not in text
        assert "pydantic" not in text
        assert "http" not in text


async def test_an_argument_name_that_is_no_text_is_refused_in_print() -> None:
    assert (await refused("cancel_email", {"email_id": "x", "a\nb\x1b[31m": 1})).isprintable()


async def test_an_unknown_status_is_refused_with_the_known_ones_in_plain_words() -> None:
    text = await refused("list_emails", {"status": "delivered"})
    assert text.startswith("invalid_argument: status must be one of scheduled, queued, ")


async def test_a_crash_is_logged_and_its_details_stay_here(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        text = await refused("get_status", {"email_id": "x"})
    assert text.startswith("internal_error: outspool failed unexpectedly")
    assert "NoneType" not in text
    assert "get_status" in text
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_both_protocol_eras_list_the_same_tools(mode: str) -> None:
    assert list(await tools(mode)) == NAMES
    assert "is required" in await refused("cancel_email", {}, mode)


class Part(BaseModel):
    """A thing with an inside."""

    text: str = Field(description="What it says.")


class First(BaseModel):
    parts: list[Part] | None = Field(None, description="Things.")
    notes: dict[str, str] | None = Field(None, description="Remarks.")


class Second(First):
    at: str = Field(description="When.")


def test_what_another_tool_explains_is_named_and_typed_and_not_explained_again() -> None:
    whole, bare = input_schema(First)["properties"], input_schema(Second, explained=First)["properties"]
    assert whole["parts"]["items"]["properties"] == {"text": {"type": "string", "description": "What it says."}}
    assert bare == {
        "parts": {"items": {"type": "object"}, "type": "array"},
        "notes": {"type": "object"},
        "at": {"description": "When.", "type": "string"},
    }


async def test_what_schedule_and_update_share_with_send_is_explained_once() -> None:
    arguments = {name: tool.input_schema["properties"] for name, tool in (await tools()).items()}
    send, schedule, update = (arguments[name] for name in ("send_email", "schedule_email", "update_email"))
    shared = send.keys() & schedule.keys()
    assert {"to", "subject", "idempotency_key"} <= shared
    assert "description" in send["to"]
    assert not any("description" in schedule[name] for name in shared)
    assert not any("description" in value for value in update.values())
