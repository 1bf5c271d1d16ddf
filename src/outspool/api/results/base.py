"""What the results of all tools are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from outspool.domain.email import Mailbox
from outspool.domain.summary import format_utc

Time = Annotated[datetime, PlainSerializer(format_utc, return_type=str)]

OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""Declares a list of what explains itself."""


class Result(BaseModel):
    """Base of all: written by name or by alias, dumped by alias."""

    model_config = ConfigDict(populate_by_name=True)


class PreviewableHead(Result):
    """What `send_email` and `schedule_email` declare: a preview has no id."""

    id: str | None = None
    status: str
    summary: str


def format_mailbox(mailbox: Mailbox) -> str:
    """Write a mailbox so that it can be given back as an argument: ``"Doe, Jane" <jane@example.com>``."""
    if not mailbox.name:
        return mailbox.address
    plain = all(c.isalnum() or c in " '-_" for c in mailbox.name)
    name = mailbox.name if plain else '"' + mailbox.name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{mailbox.address}>"
