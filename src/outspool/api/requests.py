"""The arguments of every tool.

Unknown arguments are refused, because an ignored ``bcc`` or ``schedule_at`` is a disaster. Nothing is coerced, but what
clients write by themselves is read as what it is: null is an argument that was not given, and so is "" where an empty
text can mean nothing; a list, an object or a number may stand as JSON inside a string; 10.0 is the whole number 10.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import islice
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from outspool.api.address_lists import read_mailbox_object, read_python_list, split_addresses
from outspool.domain.json_limits import check_json
from outspool.domain.status import UNREACHED, EmailStatus
from outspool.errors import TooLarge
from outspool.services.acceptance.attachment_requests import AttachmentRequest


def _read_json(*kinds: type) -> Callable[[object], object]:
    """Return a validator that parses a string with JSON of one of `kinds`, and leaves other values."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        check_json(value.encode("utf-8", "surrogatepass"))
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed if isinstance(parsed, kinds) and not isinstance(parsed, bool) else value

    return read


def _check_entries(value: object, info: ValidationInfo) -> object:
    """Reject too many entries before validation: pydantic keeps a kilobyte for each wrong one."""
    if isinstance(value, (list, dict)) and len(value) > _MOST_ENTRIES:
        raise TooLarge(f"{info.field_name} has {len(value):,} entries; {_MOST_ENTRIES:,} is the most.", "Give fewer.")
    return value


def _first_names(value: object) -> object:
    """Drop entries beyond the limit of an object with too many, enough to report unknown names."""
    return dict(islice(value.items(), _MOST_NAMES)) if isinstance(value, dict) else value


def _read_flag(value: object) -> object:
    """Parse a boolean written as a word."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _read_whole(value: object) -> object:
    """Read 10.0 as 10: to JSON Schema it is an integer."""
    parsed = _read_json(int, float)(value)
    return int(parsed) if isinstance(parsed, float) and parsed.is_integer() else parsed


def _read_list(value: object) -> object:
    """Accept a string for a list of one, and a list as Python writes it."""
    parsed = _read_json(list)(value)
    if not isinstance(parsed, str):
        return parsed
    return read_python_list(parsed) or [parsed]


def _read_objects(value: object) -> object:
    """Accept an object for a list of one."""
    parsed = _read_json(list, dict)(value)
    return [parsed] if isinstance(parsed, dict) else parsed


def _read_word(value: object) -> object:
    """Accept one of a few words in any case."""
    return value.strip().lower() if isinstance(value, str) and len(value) <= _LONGEST_WORD else value


def _read_addresses(value: object) -> object:
    """Accept addresses as objects, and several in one string."""
    parsed = _read_json(list, dict)(value)
    if isinstance(parsed, str):
        return read_python_list(parsed) or split_addresses(parsed)
    items = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(items, list) or len(items) > _MOST_ENTRIES:
        return items
    return [read_mailbox_object(item) for item in items]


_MOST_ENTRIES = 10_000
"""Entries of one list or object; the limits of mail are lower and have their own errors."""
_MOST_NAMES = 50
_LONGEST_WORD = 50


class _FirstError(FailFast):
    """Stops at the first wrong entry of a list. Pydantic's own class is not hashable, which ``| None`` needs."""

    def __hash__(self) -> int:
        """Return a constant, because all instances are equal."""
        return hash(_FirstError)


_FIRST_ERROR = _FirstError()
_Entries = BeforeValidator(_check_entries)
"""Put this before the validator that parses strings: pydantic runs the last one first."""

Strings = Annotated[list[str], _FIRST_ERROR, _Entries, BeforeValidator(_read_list)]
Addresses = Annotated[list[str], _FIRST_ERROR, _Entries, BeforeValidator(_read_addresses)]
OneOrMoreAddresses = Annotated[
    Addresses, WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]})
]
Headers = Annotated[dict[str, str], _Entries, BeforeValidator(_read_json(dict))]
Variables = Annotated[dict[str, Any], BeforeValidator(_read_json(dict))]
Priority = Annotated[Literal["low", "normal", "high"], BeforeValidator(_read_word)]
_FILES_EXPLAINED = 'Files: [{"filename": "a.csv", "text": "x,y"}]. Each has one of text, content, path, blob.'


Flag = Annotated[bool, BeforeValidator(_read_flag)]
Whole = Annotated[int, BeforeValidator(_read_whole)]
Seconds = Annotated[float, BeforeValidator(_read_json(int, float))]


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
        return {name: data[name] for name in cls.given(data)} if isinstance(data, dict) else data

    @classmethod
    def given(cls, data: Mapping[str, Any]) -> list[str]:
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
    list[Annotated[AttachmentArguments, BeforeValidator(_first_names), BeforeValidator(_read_json(dict))]],
    _FIRST_ERROR,
    _Entries,
    BeforeValidator(_read_objects),
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
        "scheduled_at": "Time.",
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
        given = cls.given(data)
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
        _FIRST_ERROR,
        _Entries,
        BeforeValidator(_read_objects),
        WithJsonSchema({"type": "array", "items": {"type": "object"}, "maxItems": 100}),
    ] = Field(description="Each with the arguments of send_email.")
    shared: Annotated[dict[str, Any] | None, BeforeValidator(_read_json(dict)), WithJsonSchema({"type": "object"})] = (
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
            BeforeValidator(_read_word),
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
