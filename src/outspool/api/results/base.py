"""Base classes and helpers of all results."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from outspool.domain.email import Mailbox
from outspool.domain.times import format_utc

Time = Annotated[datetime, PlainSerializer(format_utc, return_type=str)]

OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""Schema of a list whose items need no description."""


class Result(BaseModel):
    """Base class; fields can be set by name or alias, and are dumped by alias."""

    model_config = ConfigDict(populate_by_name=True)


class Noted(Result):
    """A result with warnings for its reader, each a sentence or two; None if there are none."""

    notes: Annotated[list[str] | None, WithJsonSchema({"type": "array", "items": {"type": "string"}})] = None


class PreviewableHead(Result):
    """The declared result of `send_email` and `schedule_email`; a preview has no id."""

    id: str | None = None
    status: str
    summary: str


def format_mailbox(mailbox: Mailbox) -> str:
    """Format a mailbox so that it can be used as an argument: ``"Doe, Jane" <jane@example.com>``."""
    if not mailbox.name:
        return mailbox.address
    plain = all(c.isalnum() or c in " '-_" for c in mailbox.name)
    name = mailbox.name if plain else '"' + mailbox.name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{mailbox.address}>"
