"""Validates a caller's request into a `Content`: every rule on what an email may contain.

Cheap checks come first, so that an absurd request costs nothing. Nothing is stored or looked up here.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from outspool.domain.address import parse_mailbox, parse_mailboxes
from outspool.domain.attachment import Attachment
from outspool.domain.email import Content, Mailbox, Priority
from outspool.domain.message_ids import check_message_ids, message_id
from outspool.domain.policy import Policy
from outspool.domain.recurrence import Recurrence
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import resolve_moment
from outspool.domain.text import (
    check_body,
    check_headers,
    check_sender_name,
    clean_subject,
    tags,
)
from outspool.errors import InvalidArgument, TooLarge, brief
from outspool.services.acceptance.attachment_requests import AttachmentRequest

_KEY = re.compile(r"[ -~]{1,255}")
_MEGABYTE = 1024 * 1024
# Duplicate addresses are removed, so more may be given than are sent to, up to this factor.
_MAX_REPETITION = 10


_LARGE_TEXT, _MANY_ADDRESSES = 100_000, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailRequest:
    """An email as the caller gives it; only the types are known to be right.

    `sender` is called `from` by callers. A `template`, filled in with `variables`, replaces subject, body and html (see
    `outspool.services.templates`).
    """

    to: Sequence[str] = ()
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    reply_to: Sequence[str] = ()
    sender: str | None = None
    subject: str = ""
    body: str | None = None
    html: str | None = None
    in_reply_to: str | None = None
    references: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    priority: str = "normal"
    attachments: Sequence[AttachmentRequest] = ()
    template: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)


def validate_request(request: EmailRequest, policy: Policy) -> Content:
    """Return the valid content that `request` asks for; templates must have been rendered.

    Attachments are left to `Attachments`. Each address is kept once (the first of to, cc, bcc). Raises a `Refusal` that
    says every mistake.
    """
    values = {name: getattr(request, name) for name in _READERS}
    _check_amounts(values, policy)
    faults = RefusalCollector()
    converted = _convert(values, policy, faults)
    with faults.collect():
        _check_texts(request.subject, request.body, request.html)
    if faults:
        with faults.collect():
            policy.check_recipients([mailbox for name in _ENVELOPE for mailbox in converted.get(name, ())])
    faults.raise_any()
    return _check_content(Content(**converted), policy)


def check_fields(values: Mapping[str, Any], faults: RefusalCollector) -> None:
    """Collect what is wrong with the parts of an email that no policy decides; `values` are keyed as in `EmailRequest`.

    It is for calls that are refused anyhow, so that they hear of all their faults.
    """
    known = {name: values[name] for name in _READERS if name in values and name not in ("sender", "headers")}
    with faults.collect():
        _check_amounts(known, _NO_POLICY)
        _convert(known, _NO_POLICY, faults)


def is_large(request: EmailRequest) -> bool:
    """Tell whether validation takes long enough to need a thread."""
    addresses = sum(map(len, (request.to, request.cc, request.bcc, request.reply_to)))
    return text_size(request) > _LARGE_TEXT or addresses > _MANY_ADDRESSES


def text_size(request: EmailRequest) -> int:
    """Return the number of characters in body and html."""
    return len(request.body or "") + len(request.html or "")


def revise_content(content: Content, changes: Mapping[str, Any], policy: Policy) -> Content:
    """Return `content` with `changes`, keyed and typed as in `EmailRequest`.

    None empties a field. The result is checked as in `validate_request`, so no update can make an email that would not
    have been accepted.
    """
    if unknown := changes.keys() - _READERS.keys():
        raise InvalidArgument(f"{brief(min(unknown))} is not a part of an email.", "Leave it out.")
    values = {name: getattr(_EMPTY, name) if value is None else value for name, value in changes.items()}
    _check_amounts({"body": content.body, "html": content.html, **values}, policy)
    faults = RefusalCollector()
    converted = _convert(values, policy, faults)
    faults.raise_any()
    content = replace(content, **converted)
    _check_texts(content.subject, content.body, content.html)
    return _check_content(content, policy)


def check_idempotency_key(key: str) -> str:
    """Return `key` if it is 1 to 255 printable ASCII characters, else raise `InvalidArgument`."""
    if not _KEY.fullmatch(key) or not key.strip():
        raise InvalidArgument(
            "idempotency_key must be 1 to 255 printable ASCII characters.",
            "Give a name of this email, like invoice-42.",
        )
    return key


def fingerprint_content(
    content: Content,
    *,
    scheduled_at: str | None = None,
    timezone: str | None = None,
    delay: str | None = None,
    template: str | None = None,
    variables: Mapping[str, Any] | None = None,
    recurrence: Recurrence | None = None,
) -> str:
    """Return the SHA-256, in hex, of the normalised content and of the schedule as the caller gave it.

    Two identical calls have the same fingerprint, whenever they are made: a time counts as an instant, a delay as its
    text. With a `template`, its name and variables count and not its texts, which may change between two calls. Empty
    fields are left out, so that adding a field to `Content` changes no existing fingerprint.
    """
    moment = None if scheduled_at is None else resolve_moment(scheduled_at, timezone)
    parts = {
        "content": {part.name: value for part in fields(content) if (value := getattr(content, part.name))},
        "scheduled_at": moment,
        "delay": delay,
        **({} if template is None else {"template": template, "variables": variables or {}}),
        **({} if recurrence is None else {"recurrence": asdict(recurrence)}),
    }
    canonical = json.dumps(parts, default=_canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: object) -> object:
    """Convert what `json` cannot encode."""
    if isinstance(value, Mailbox):
        return [value.address, value.name]
    if isinstance(value, Attachment):
        return [value.filename, value.content_type, value.content_id, value.digest]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _read_priority(value: str) -> Priority:
    try:
        return Priority(value)
    except ValueError:
        raise InvalidArgument(f"priority {brief(value)} is unknown.", f"Use one of {', '.join(Priority)}.") from None


def _read_sender(value: str | None, policy: Policy) -> Mailbox:
    mailbox = None if value is None else parse_mailbox(value, "from", internal=policy.internal_domains)
    if mailbox is not None and (policy.sender is None or mailbox.name != policy.sender.name):
        check_sender_name(mailbox.name, "from")
    return policy.choose_sender(mailbox)


def _read_mailboxes(name: str) -> Callable[[Any, Policy], tuple[Mailbox, ...]]:
    return lambda value, policy: parse_mailboxes(
        value, name, internal=None if policy is _NO_POLICY else policy.internal_domains
    )


_NO_POLICY = Policy()
"""Stands for a policy that is not known here, and allows everything."""
_EMPTY = EmailRequest()
_READERS: Mapping[str, Callable[[Any, Policy], Any]] = MappingProxyType(
    {
        "to": _read_mailboxes("to"),
        "cc": _read_mailboxes("cc"),
        "bcc": _read_mailboxes("bcc"),
        "reply_to": lambda value, policy: _remove_duplicates(_read_mailboxes("reply_to")(value, policy), set()),
        "sender": _read_sender,
        "subject": lambda value, _: clean_subject(value),
        "body": lambda value, _: None if value is None else check_body(value, "body"),
        "html": lambda value, _: None if value is None else check_body(value, "html"),
        "in_reply_to": lambda value, _: None if value is None else message_id(value, "in_reply_to"),
        "references": lambda value, _: check_message_ids(value, "references"),
        "headers": lambda value, policy: check_headers(value, policy.allowed_headers),
        "tags": lambda value, _: tags(value),
        "priority": lambda value, _: _read_priority(value),
    }
)
"""Converts each field of an `EmailRequest` to the field of `Content` with the same name."""


_ENVELOPE = ("to", "cc", "bcc")


def _convert(values: Mapping[str, Any], policy: Policy, faults: RefusalCollector) -> dict[str, Any]:
    """Return the fields that are valid, and collect what is wrong with the others."""
    converted = {}
    for name, value in values.items():
        with faults.collect():
            converted[name] = _READERS[name](value, policy)
    return converted


def _check_amounts(values: Mapping[str, Any], policy: Policy) -> None:
    """Reject requests by size, before parsing."""
    parts = [part for part in (values.get("body"), values.get("html")) if part]
    size = sum(map(len, parts))
    if size <= policy.max_message_bytes:
        size = sum(len(part.encode("utf-8", "surrogatepass")) for part in parts)
    if size > policy.max_message_bytes:
        raise TooLarge(
            f"The text is {_megabytes(size)}; {_megabytes(policy.max_message_bytes)} is the most.",
            "Shorten body and html.",
        )
    for name in ("to", "cc", "bcc", "reply_to"):
        if not isinstance(values.get(name, ()), str):
            _check_count(len(values.get(name, ())), policy.max_recipients * _MAX_REPETITION, name)


def _megabytes(size: int) -> str:
    return f"{math.ceil(size / _MEGABYTE * 100) / 100:g} MB"


def _check_count(number: int, limit: int, field_name: str) -> None:
    if number > limit:
        raise InvalidArgument(
            f"{field_name}: {number:,} addresses are given; {limit} is the most.", "Send several emails."
        )


def _check_texts(subject: str, body: str | None, html: str | None) -> None:
    if body is None and html is None:
        raise InvalidArgument("The email has neither body nor html.", "Give `body`, the text of the email.")
    if not any(part and part.strip() for part in (subject, body, html)):
        raise InvalidArgument("The email is empty: no subject and no text.", "Give `subject` and `body`.")


def _check_content(content: Content, policy: Policy) -> Content:
    """Check rules that concern several fields."""
    seen: set[str] = set()
    content = replace(
        content,
        to=_remove_duplicates(content.to, seen),
        cc=_remove_duplicates(content.cc, seen),
        bcc=_remove_duplicates(content.bcc, seen),
        # Mail programs would show an empty alternative instead of the other one.
        body=content.body or (None if content.html else ""),
        html=content.html or None,
    )
    recipients = [mailbox for _, mailbox in content.list_recipients()]
    if not recipients:
        raise InvalidArgument("The email has no recipient.", "Give at least one address in `to`, `cc` or `bcc`.")
    _check_count(len(recipients), policy.max_recipients, "to, cc and bcc")
    faults = RefusalCollector()
    with faults.collect():
        policy.check_recipients(recipients)
    with faults.collect():
        policy.check_answers(content.sender, content.reply_to, content.headers)
    faults.raise_any()
    return content


def _remove_duplicates(mailboxes: Sequence[Mailbox], seen: set[str]) -> tuple[Mailbox, ...]:
    """Return mailboxes whose address, in lower case, is not in `seen`, and add them to it."""
    kept = []
    for mailbox in mailboxes:
        address = mailbox.address.lower()
        if address not in seen:
            seen.add(address)
            kept.append(mailbox)
    return tuple(kept)
