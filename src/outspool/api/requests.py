"""The arguments of every tool.

Unknown arguments are refused, because an ignored ``bcc`` or ``schedule_at`` is a disaster. Nothing is coerced, but what
clients write by themselves is read as what it is: null is an argument that was not given, and so is "" where an empty
text can mean nothing. `argument_types` says how values are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from outspool.api.argument_types import (
    FIRST_ERROR,
    Addresses,
    Flag,
    Headers,
    LimitedEntries,
    OneOrMoreAddresses,
    Priority,
    Seconds,
    Strings,
    Variables,
    Whole,
    limit_names,
    read_json,
    read_objects,
    read_word,
)
from outspool.domain.status import UNREACHED, EmailStatus
from outspool.services.acceptance.attachment_requests import AttachmentRequest


class Arguments(BaseModel):
    """Base class: strict types, no unknown names."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    alternatives: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType({})
    """What a refusal says of a missing argument that others can replace, and what to do."""

    placeholders: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Values of required arguments with which the others can be checked when they are missing."""

    nearly_required: ClassVar[frozenset[str]] = frozenset()
    """Arguments that the schema requires, and that may nevertheless be missing beside others."""

    meaningful_when_empty: ClassVar[frozenset[str]] = frozenset({"subject", "body", "html"})
    """Texts that may be empty on purpose; elsewhere "" is what clients fill in for an argument without a value."""

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        """Leave out what was not given."""
        return {name: data[name] for name in cls.names_with_value(data)} if isinstance(data, dict) else data

    @classmethod
    def names_with_value(cls, data: Mapping[str, Any]) -> list[str]:
        """Return the names of the arguments that have a value."""
        return [
            name
            for name, value in data.items()
            if value is not None and (value != "" or name in cls.meaningful_when_empty)
        ]

    @classmethod
    def names(cls) -> list[str]:
        """Return the arguments by the names that callers use."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def published_as_required(cls) -> frozenset[str]:
        """Return the arguments that the schema requires, by the names that callers use."""
        return cls.nearly_required | {f.alias or name for name, f in cls.model_fields.items() if f.is_required()}

    @classmethod
    def missing(cls, data: Mapping[str, Any]) -> list[str]:  # noqa: ARG003 - subclasses look at it
        """Return the arguments that are needed although the model can do without, because others may replace them."""
        return []


_FILES_EXPLAINED = 'Files: [{"filename": "a.csv", "text": "x,y"}]. Each has one of text, content, path, blob.'


class AttachmentArguments(Arguments):
    """One file."""

    filename: str | None = Field(None, description="With extension.")
    text: str | None = Field(None, description="Its text.")
    content: str | None = Field(None, description="Base64.")
    path: str | None = Field(None, description="A file that the server may send.")
    blob: str | None = Field(None, description="The operator's handle.")
    content_type: str | None = Field(None, description="Media type.")
    content_id: str | None = Field(None, description="logo is shown for cid:logo in html.")

    meaningful_when_empty: ClassVar = frozenset({"text", "content"})

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_sources(cls, data: Any) -> Any:
        """Take an empty `text` or `content` for an empty file only if nothing else is the file."""
        if not isinstance(data, dict):
            return data
        if any(data.get(source) for source in ("text", "content", "path", "blob")):
            return {name: value for name, value in data.items() if value or name not in ("text", "content")}
        return {name: value for name, value in data.items() if name != "content" or data.get("text") is None}


Files = Annotated[
    list[Annotated[AttachmentArguments, BeforeValidator(limit_names), BeforeValidator(read_json(dict))]],
    FIRST_ERROR,
    LimitedEntries,
    BeforeValidator(read_objects),
]


BRIEF: Mapping[str, str] = MappingProxyType(
    {
        "to": "Recipients.",
        "subject": "Subject.",
        "body": "Plain text.",
        "html": "HTML.",
        "cc": "Copies.",
        "bcc": "Hidden copies.",
        "reply_to": "Where answers go.",
        "from": "Sender.",
        "in_reply_to": "Message-ID answered.",
        "references": "Message-IDs of the thread.",
        "attachments": "Files.",
        "headers": "Own headers.",
        "tags": "Labels.",
        "priority": "low, normal, high.",
        "template": "Template's name.",
        "variables": "Its variables.",
        "idempotency_key": "Your name for it.",
        "preview": "Send nothing.",
        "scheduled_at": 'Time; "now" sends it.',
        "timezone": "IANA zone.",
        "delay": "From now: PT2H.",
        "recurrence": "Cron.",
        "until": "Series' end.",
        "count": "Series' length.",
    }
)
"""Descriptions of arguments in the tools that share them with `send_email` or `schedule_email`."""


class MessageArguments(Arguments):
    """One new email."""

    to: OneOrMoreAddresses = Field(description='Recipients: ["a@example.com", "Ada <b@example.com>"].')
    subject: str | None = Field(None, description='"" with a template takes its own.')
    body: str | None = Field(None, description="Plain text. Give body, html, or both; or a template.")
    html: str | None = Field(None, description="HTML; a text version is added if body is missing.")
    cc: Addresses | None = Field(None, description="Copies.")
    bcc: Addresses | None = Field(None, description="Hidden from the other recipients.")
    reply_to: Addresses | None = Field(None, description="Where answers go.")
    from_: str | None = Field(None, alias="from", description='"Name <address>"; there is a default.')
    in_reply_to: str | None = Field(None, description="Message-ID answered: <id@example.com>.")
    references: Strings | None = Field(None, description="Message-IDs of the thread, oldest first.")
    attachments: Files | None = Field(None, description=_FILES_EXPLAINED)
    headers: Headers | None = Field(None, description='{"X-Project": "42"}')
    tags: Strings | None = Field(None, description="Labels for list_emails; never sent.")
    priority: Priority | None = Field(None, description="Which due email leaves first.")
    template: str | None = Field(None, description="A name from list_templates.")
    variables: Variables | None = Field(None, description="What the template needs.")
    idempotency_key: str | None = Field(
        None,
        description='Your name for this email: "invoice-42". Repeating the call with it never sends a second one.',
    )
    preview: Flag = Field(default=False, description="Return what would go out; store and send nothing.")

    alternatives: ClassVar = {
        "body": ("The email has neither body nor html.", "Give `body`, the text of the email; or html, or a template.")
    }
    placeholders: ClassVar = {"to": []}
    nearly_required: ClassVar = frozenset({"subject"})

    @classmethod
    def missing(cls, data: Mapping[str, Any]) -> list[str]:
        """Return the texts that neither the caller nor a template gives. An empty subject may be meant."""
        given = cls.names_with_value(data)
        if "template" in given:
            return []
        has_text = "body" in given or "html" in given
        return [*(() if "subject" in given else ("subject",)), *(() if has_text else ("body",))]


class SendArguments(MessageArguments):
    """`send_email`."""

    wait: Seconds = Field(3, ge=0, le=50, description="Seconds to wait for the outcome.")


class ScheduleArguments(MessageArguments):
    """`schedule_email`."""

    scheduled_at: str | None = Field(
        None, description="2026-11-23T09:00:00+01:00, or without offset and with timezone."
    )
    timezone: str | None = Field(None, description="Europe/Berlin")
    delay: str | None = Field(None, description="Instead of scheduled_at: PT90M, PT2H, P1D.")
    recurrence: str | None = Field(
        None, description='A series: cron, e.g. "0 9 * * mon-fri", in timezone; from scheduled_at on, if given.'
    )
    until: str | None = Field(None, description="Its last day or time.")
    count: Whole | None = Field(None, description="Or how many emails it makes.")


class BatchArguments(Arguments):
    """`send_batch`: each email is validated as `MessageArguments` after merging it with `shared`."""

    emails: Annotated[
        list[dict[str, Any]],
        FIRST_ERROR,
        LimitedEntries,
        BeforeValidator(read_objects),
        WithJsonSchema({"type": "array", "items": {"type": "object"}, "maxItems": 100}),
    ] = Field(description="Each with the arguments of send_email.")
    shared: Annotated[dict[str, Any] | None, BeforeValidator(read_json(dict)), WithJsonSchema({"type": "object"})] = (
        Field(None, description="What all have in common.")
    )
    wait: Seconds = Field(3, ge=0, le=50, description="Seconds to wait for the outcomes.")


class EmailArguments(Arguments):
    """Arguments of tools that take only an email's id."""

    placeholders: ClassVar = {"email_id": "-"}

    email_id: str = Field(description="The id that a tool returned.")


class NoArguments(Arguments):
    """Arguments of tools that take none."""


class UpdateArguments(EmailArguments):
    """`update_email`: absent fields stay; [], "" (body, html, in_reply_to, until) and count 0 clear."""

    meaningful_when_empty: ClassVar = frozenset({"subject", "body", "html", "in_reply_to", "until"})

    to: Addresses | None = None
    subject: str | None = None
    body: str | None = None
    html: str | None = None
    cc: Addresses | None = None
    bcc: Addresses | None = None
    reply_to: Addresses | None = None
    from_: str | None = Field(None, alias="from")
    in_reply_to: str | None = None
    references: Strings | None = None
    attachments: Files | None = None
    headers: Headers | None = None
    tags: Strings | None = None
    priority: Priority | None = None
    scheduled_at: str | None = None
    timezone: str | None = None
    delay: str | None = None
    recurrence: str | None = None
    until: str | None = None
    count: Whole | None = None
    paused: Flag | None = Field(None, description="Rest a series, or go on.")


class ListArguments(Arguments):
    """`list_emails`."""

    status: (
        Annotated[
            Literal[tuple(s.value for s in EmailStatus if s not in UNREACHED)],  # type: ignore[valid-type]
            BeforeValidator(read_word),
        ]
        | None
    ) = Field(None, description="Only these.")
    recipient: str | None = Field(None, description="An address in to, cc or bcc.")
    query: str | None = Field(None, description="Words in the subject.")
    tag: str | None = Field(None, description="One label.")
    series: str | None = Field(None, description="What the series of this id made.")
    created_after: str | None = Field(None, description="2026-11-23T09:00:00Z")
    created_before: str | None = Field(None, description="As created_after.")
    limit: Whole = Field(20, ge=1, le=100, description="Per page.")
    cursor: str | None = Field(None, description="next_cursor of the page before.")


def provided_fields(arguments: BaseModel, *, exclude: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the arguments that the caller set, including nulls, by domain name (``from`` is `sender`)."""
    provided = {name: getattr(arguments, name) for name in arguments.model_fields_set}
    if provided.get("attachments") is not None:
        provided["attachments"] = [AttachmentRequest(**file.model_dump()) for file in provided["attachments"]]
    return {"sender" if name == "from_" else name: value for name, value in provided.items() if name not in exclude}
