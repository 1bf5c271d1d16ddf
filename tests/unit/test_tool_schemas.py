"""The tools' schemas and argument errors, without an outbox."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
from mcp.client import Client
from mcp_types import TextContent, Tool
from pydantic import BaseModel, Field

from outspool.api.client_metadata import CLIENT_METADATA
from outspool.api.requests import Arguments
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


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a schema."""
    if isinstance(schema, dict):
        yield schema
    for child in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from nodes(child)


async def test_no_schema_says_a_boolean_of_additional_properties_which_gemini_cannot_load() -> None:
    for tool in (await tools()).values():
        for node in (*nodes(tool.input_schema), *nodes(tool.output_schema)):
            assert not isinstance(node.get("additionalProperties"), bool), tool.name


async def test_every_argument_is_described_wherever_it_stands() -> None:
    for tool in (await tools()).values():
        for node in nodes(tool.input_schema):
            for name, argument in node.get("properties", {}).items():
                assert argument.get("description"), f"{tool.name}: {name}"


async def test_a_subject_is_required_of_every_new_email_and_of_no_change() -> None:
    required = {name: tool.input_schema.get("required", []) for name, tool in (await tools()).items()}
    assert required["send_email"] == required["schedule_email"] == ["to", "subject"]
    assert required["update_email"] == ["email_id"]
    assert required["list_emails"] == []


async def test_a_converter_to_strict_schemas_neither_closes_an_open_object_nor_requires_a_string() -> None:
    """OpenAI's strict mode requires every property and closes every object that does not say it is open."""
    for tool in (await tools()).values():
        objects = [node for node in nodes(tool.input_schema) if node.get("type") == "object"]
        assert all("properties" in node or "additionalProperties" in node for node in objects), tool.name
        if any("additionalProperties" in node for node in objects):
            continue  # such a tool stays as it is
        for name, argument in tool.input_schema["properties"].items():
            assert name in tool.input_schema.get("required", []) or {"type": "null"} in argument["anyOf"], name


async def test_input_schemas_are_compact() -> None:
    for tool in (await tools()).values():
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
    text = await refused("send_email", {"recipient": "x"})
    assert text.startswith('invalid_argument: unknown argument "recipient". Did you mean "to"? to and subject are')


@pytest.mark.parametrize(
    ("tool", "arguments", "faults"),
    [
        (
            "send_email",
            {"to": ["bob"], "cc": ["a@x.com", "b@", "c d@x.com"], "preview": "soon", "subjct": "Hi"},
            [
                "subjct",
                'Did you mean "subject"?',
                "subject is required",
                "neither body nor html",
                "preview must be",
                '"bob" has no @',
                '"b@"',
                "space",
            ],
        ),
        (
            "schedule_email",
            {"to": ["bob"], "scheduled_at": "2027-07-01T09:00:00", "timezone": "GMT+2", "wait": 5},
            ["wait", "Leave it out", "subject is required", '"bob" has no @', "write 2027-07-01T09:00:00+02:00"],
        ),
        (
            "schedule_email",
            message(at="tomorrow", delay="2 hours", recurrence="daily", references=["a b"]),
            ['Did you mean "scheduled_at"?', "delay", "recurrence", "references"],
        ),
        (
            "schedule_email",
            {},
            ["to and subject are required", "neither body nor html", "Neither scheduled_at nor delay is given"],
        ),
        ("update_email", {"to": ["bob"], "wait": 3}, ["wait", "email_id is required", '"bob" has no @']),
        ("list_emails", {"limit": 0, "status": "delivered", "colour": 1}, ["limit must", "status must", "colour"]),
        (
            "send_batch",
            {"emails": [{"to": ["bob"]}, message(), message(at="9:00")]},
            [
                "emails[0]: subject",
                '"bob" has no @',
                'emails[2]: unknown argument "at". "scheduled_at" is an argument of schedule_email',
            ],
        ),
        ("send_email", message(attachments=[{"nme": "a", "text": 1}]), ['"nme"', 'attachments[0]["text"]']),
    ],
)
async def test_a_refusal_says_every_fault_with_what_to_do(
    tool: str, arguments: dict[str, Any], faults: list[str]
) -> None:
    text = await refused(tool, arguments)
    assert [fault for fault in faults if fault not in text] == [], text


@pytest.mark.parametrize("name", ["at", "date", "send_at", "delay_minutes", "send_later", "deliver_on", "schedule"])
async def test_a_name_of_a_time_is_led_to_the_tool_that_sends_at_a_time(name: str) -> None:
    assert "schedule_email" in await refused("send_email", message(**{name: "9:00"}))
    assert "schedule_email" in await refused("send_batch", {"emails": [message(**{name: "9:00"})]})


@pytest.mark.parametrize("name", ["format", "is_html", "isHtml", "body_type", "content_type"])
async def test_a_question_of_html_is_answered_with_both_arguments(name: str) -> None:
    text = await refused("send_email", message(**{name: "html"}))
    assert "Give HTML in `html`, and plain text in `body`." in text


async def test_no_tool_of_a_later_time_leads_to_one_that_sends_now() -> None:
    for arguments in ({"delay": "PT2H", "wait": 5}, {"scheduled_at": "2020-01-01T09:00Z", "subjet": "x"}):
        text = await refused("schedule_email", message(**arguments))
        assert "send_email" not in text


@pytest.mark.parametrize("added", sorted(CLIENT_METADATA))
async def test_what_a_client_adds_by_itself_is_dropped_beside_the_arguments_alone(added: str) -> None:
    text = await refused("get_status", {"email_id": "x", added: "1"})
    assert text.startswith("internal_error")  # it got as far as the outbox, and there is none here
    nested = message(attachments=[{"filename": "a", "text": "b", added: "1"}])
    assert "unknown argument" in await refused("send_email", nested)
    assert "unknown argument" in await refused("send_batch", {"emails": [message(**{added: "1"})]})


async def test_a_tool_without_arguments_ignores_what_it_is_given() -> None:
    text = await refused("list_templates", {"random_string": "x", "anything": 1})
    assert text.startswith("internal_error")


async def test_a_list_of_known_arguments_is_never_empty() -> None:
    for tool in NAMES:
        assert "Known are: ." not in await refused(tool, {"qqq": 1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "to and subject are required. The email has neither body nor html. Give `body`"),
        ({"to": ["a@example.com"]}, "subject is required. The email has neither body nor html. Give `body`"),
        (message(to=[1]), 'to[0] must be a string like "Ada <ada@example.com>".'),
        (message(to={"x": 1}), 'to[0] must be a string like "Ada <ada@example.com>".'),
        (message(to=7), "to must be a list of strings."),
        (message(to=None), "to is required."),
        ({"to": ["a@example.com"], "subject": None, "html": "x"}, "subject is required."),
        (message(preview="soon"), "preview must be true or false."),
        (message(variables=["a"]), "variables must be an object."),
        (message(subject=42), "subject must be a string."),
        (message(subject=["x"]), "subject must be a string."),
        (message(body=True), "body must be a string."),
        (message(cc=["a@x.com", None]), 'cc[1] must be a string like "Ada <ada@example.com>".'),
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


ANYTHING = {"minLength": 0}


class Part(BaseModel):
    """A thing with an inside."""

    text: str = Field(description="What it says.")


class First(Arguments):
    parts: list[Part] | None = Field(None, description="Things.")
    notes: dict[str, str] | None = Field(None, description="Remarks.")


class Second(First):
    at: str = Field(description="When.")


def test_what_another_tool_explains_is_named_and_typed_and_not_explained_again() -> None:
    whole, bare = input_schema(First)["properties"], input_schema(Second, explained=First)["properties"]
    assert whole["parts"]["items"]["properties"] == {"text": {"type": "string", "description": "What it says."}}
    assert bare == {
        "parts": {
            "items": {"type": "object", "additionalProperties": ANYTHING},
            "type": "array",
            "description": "Things.",
        },
        "notes": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Remarks."},
        "at": {"description": "When.", "type": "string"},
    }


async def test_what_schedule_and_update_share_with_send_is_explained_once() -> None:
    arguments = {name: tool.input_schema["properties"] for name, tool in (await tools()).items()}
    send, schedule, update = (arguments[name] for name in ("send_email", "schedule_email", "update_email"))
    shared = send.keys() & schedule.keys()
    assert {"to", "subject", "idempotency_key"} <= shared
    shorter = [name for name in shared if len(schedule[name]["description"]) < len(send[name]["description"])]
    assert len(shorter) > len(shared) / 2
    assert all(len(update[name]["description"]) <= 30 for name in update.keys() & schedule.keys())
