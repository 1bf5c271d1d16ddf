"""Every tool has its command, and every argument its option."""

from __future__ import annotations

from typing import cast

import pytest
from mcp.client import Client
from pydantic import BaseModel

from outspool.api.requests import (
    AttachmentArguments,
    ListArguments,
    MessageArguments,
    ScheduleArguments,
    SendArguments,
    UpdateArguments,
)
from outspool.cli.words import COMMANDS, OPTIONS, speak
from outspool.mcp.server import build_server
from outspool.services.acceptance.outbox import Outbox

NO_OUTBOX = cast(Outbox, None)

ELSEWHERE = {
    "paused": "`outspool pause` and `outspool resume`",
    "created_after": "not at the command line",
    "created_before": "not at the command line",
    **dict.fromkeys(("filename", "text", "content", "path", "blob", "content_type"), "--attach reads them of the file"),
}


async def test_every_tool_has_a_command() -> None:
    async with Client(build_server(lambda _name, _version: NO_OUTBOX)) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
    assert set(COMMANDS) == tools


@pytest.mark.parametrize(
    "model",
    [SendArguments, ScheduleArguments, UpdateArguments, ListArguments, MessageArguments, AttachmentArguments],
)
def test_every_argument_has_an_option(model: type[BaseModel]) -> None:
    names = {field.alias or name for name, field in model.model_fields.items()}
    assert names - set(OPTIONS) - set(ELSEWHERE) == set()


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Use retry_email to try again.", "Use `outspool retry` to try again."),
        ("Use `list_templates` to see them.", "Use `outspool templates` to see them."),
        ("The email has neither body nor html.", "The email has neither --body nor --html."),
        ("scheduled_at and delay are both given.", "--at and --delay are both given."),
        ("to, cc and bcc: 300 addresses", "--to, --cc and --bcc: 300 addresses"),
        ('to: "x" is no address', '--to: "x" is no address'),
        ('to: "x" has no @. Write it like a@b. cc: "y" has', '--to: "x" has no @. Write it like a@b. --cc: "y" has'),
        (
            'There is no file path "/a.pdf". Check the path, or give `text` or `content`.',
            'There is no file "/a.pdf". Check the path.',
        ),
        ('attachments[0].filename "a/b" is a path.', '--attach "a/b" is a path.'),
        ("recurrence needs a timezone.", "--recurrence needs a --timezone."),
        ("Name the place, or leave timezone out.", "Name the place, or leave --timezone out."),
        ("Everything else has an argument of its own.", "Everything else has an option of its own."),
        ('There is no template "to, cc".', 'There is no template "to, cc".'),
        ("It was sent to Ada, from Rome.", "It was sent to Ada, from Rome."),
        ("The subject of this email is long.", "The subject of this email is long."),
    ],
)
def test_arguments_become_options_and_words_stay_words(text: str, spoken: str) -> None:
    assert speak(text) == spoken
