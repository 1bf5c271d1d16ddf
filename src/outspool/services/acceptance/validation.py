"""Reads a caller's request into a validated `Content`: every rule on what an email may say, one clear sentence each.

Cheap checks come first, so that an absurd request costs nothing. Nothing is stored and nothing is looked up here.
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
from outspool.domain.policy import Policy
from outspool.domain.recurrence import Recurrence
from outspool.domain.schedule import resolve_moment
from outspool.domain.text import (
    check_body,
    check_headers,
    check_message_ids,
    check_sender_name,
    message_id,
    subject_line,
    tags,
)
from outspool.errors import InvalidArgument, TooLarge, brief
from outspool.services.acceptance.attachment_requests import AttachmentRequest

_KEY = re.compile(r"[ -~]{1,255}")
_MEGABYTE = 1024 * 1024
# Repeated addresses are kept once, so more may be written than are sent to; but not without end.
_MAX_REPETITION = 10


_LARGE_TEXT, _MANY_ADDRESSES = 100_000, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailRequest:
    """An email as the caller wrote it; only the shapes are known to be right.

    `sender` is what callers know as `from`. A `template`, filled in with `variables`, stands for subject, body and
    html (see `outspool.services.templates`).
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


def validate_request(draft: EmailRequest, policy: Policy) -> Content:
    """Return what `draft` asks for, valid and allowed by `policy`; a template must have been filled in.

    Its attachments are left to `Attachments`.

    Each address is kept once (the first of to, cc, bcc). Raises a `Refusal` that says what is wrong with the first
    mistake found.
    """
    asked = {name: getattr(draft, name) for name in _READERS}
    _check_amounts(asked, policy)
    return _check_whole(Content(**_read(asked, policy)), policy)


def is_large(draft: EmailRequest) -> bool:
    """Whether reading it takes so long that others should be served meanwhile."""
    addresses = sum(map(len, (draft.to, draft.cc, draft.bcc, draft.reply_to)))
    return text_size(draft) > _LARGE_TEXT or addresses > _MANY_ADDRESSES


def text_size(draft: EmailRequest) -> int:
    """Return how many characters body and html have."""
    return len(draft.body or "") + len(draft.html or "")


def revise_content(content: Content, changes: Mapping[str, Any], policy: Policy) -> Content:
    """Return `content` with `changes`, keyed and written as in `EmailRequest`; what they do not name stays.

    None stands for leaving the field empty. The whole is checked as `validate_request` does, so an email cannot be
    changed into one that would not have been accepted. Raises `Refusal` likewise.
    """
    if unknown := changes.keys() - _READERS.keys():
        raise InvalidArgument(f"{brief(min(unknown))} is not a part of an email.", "Leave it out.")
    asked = {name: getattr(_EMPTY, name) if value is None else value for name, value in changes.items()}
    _check_amounts({"body": content.body, "html": content.html, **asked}, policy)
    return _check_whole(replace(content, **_read(asked, policy)), policy)


def check_idempotency_key(key: str) -> str:
    """Return `key` if it is 1 to 255 printable ASCII characters, or raise `InvalidArgument`."""
    if not _KEY.fullmatch(key) or not key.strip():
        raise InvalidArgument(
            "idempotency_key must be 1 to 255 printable ASCII characters.", "Use a fresh UUID for each email."
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
    """Return the SHA-256, in hex, of what was asked: the normalised content, and the schedule in the caller's words.

    With a `template`, `content` is what was asked beside it: what a template says may change between two equal calls.

    The same call made twice gives the same fingerprint, whenever it is made: a moment counts as the instant it names,
    a delay as its words. Empty fields do not count, so that a field added later changes no fingerprint of today.
    """
    moment = None if scheduled_at is None else resolve_moment(scheduled_at, timezone)
    asked = {
        "content": {part.name: value for part in fields(content) if (value := getattr(content, part.name))},
        "scheduled_at": moment,
        "delay": delay,
        **({} if template is None else {"template": template, "variables": variables or {}}),
        **({} if recurrence is None else {"recurrence": asdict(recurrence)}),
    }
    canonical = json.dumps(asked, default=_canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: object) -> object:
    """Return the JSON shape of what `json` does not know."""
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
    mailbox = None if value is None else parse_mailbox(value, "from")
    if mailbox is not None and (policy.sender is None or mailbox.name != policy.sender.name):
        check_sender_name(mailbox.name, "from")
    return policy.choose_sender(mailbox)


_EMPTY = EmailRequest()
_READERS: Mapping[str, Callable[[Any, Policy], Any]] = MappingProxyType(
    {
        "to": lambda value, _: parse_mailboxes(value, "to"),
        "cc": lambda value, _: parse_mailboxes(value, "cc"),
        "bcc": lambda value, _: parse_mailboxes(value, "bcc"),
        "reply_to": lambda value, _: _remove_duplicates(parse_mailboxes(value, "reply_to"), set()),
        "sender": _read_sender,
        "subject": lambda value, _: subject_line(value),
        "body": lambda value, _: None if value is None else check_body(value, "body"),
        "html": lambda value, _: None if value is None else check_body(value, "html"),
        "in_reply_to": lambda value, _: None if value is None else message_id(value, "in_reply_to"),
        "references": lambda value, _: check_message_ids(value, "references"),
        "headers": lambda value, policy: check_headers(value, policy.allowed_headers),
        "tags": lambda value, _: tags(value),
        "priority": lambda value, _: _read_priority(value),
    }
)
"""How each field of a `EmailRequest` becomes the field of the same name of a `Content`."""


def _read(asked: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    return {name: _READERS[name](value, policy) for name, value in asked.items()}


def _check_amounts(asked: Mapping[str, Any], policy: Policy) -> None:
    """Refuse by sheer size, before anything is read."""
    parts = [part for part in (asked.get("body"), asked.get("html")) if part]
    size = sum(map(len, parts))
    if size <= policy.max_message_bytes:
        size = sum(len(part.encode("utf-8", "surrogatepass")) for part in parts)
    if size > policy.max_message_bytes:
        raise TooLarge(
            f"The text is {_megabytes(size)}; {_megabytes(policy.max_message_bytes)} is the most.",
            "Shorten body and html.",
        )
    for name in ("to", "cc", "bcc", "reply_to"):
        if not isinstance(asked.get(name, ()), str):
            _check_number(len(asked.get(name, ())), policy.max_recipients * _MAX_REPETITION, name)


def _megabytes(size: int) -> str:
    return f"{math.ceil(size / _MEGABYTE * 100) / 100:g} MB"


def _check_number(number: int, most: int, what: str) -> None:
    if number > most:
        raise InvalidArgument(f"{what}: {number:,} addresses are given; {most} is the most.", "Send several emails.")


def _check_whole(content: Content, policy: Policy) -> Content:
    """Apply the rules that concern several fields at once."""
    if content.body is None and content.html is None:
        raise InvalidArgument("The email has neither body nor html.", "Give `body`, the text of the email.")
    if not any(part and part.strip() for part in (content.subject, content.body, content.html)):
        raise InvalidArgument("The email is empty: no subject and no text.", "Give `subject` and `body`.")
    seen: set[str] = set()
    content = replace(
        content,
        to=_remove_duplicates(content.to, seen),
        cc=_remove_duplicates(content.cc, seen),
        bcc=_remove_duplicates(content.bcc, seen),
        # An empty alternative would be shown instead of the one that was written.
        body=content.body or (None if content.html else ""),
        html=content.html or None,
    )
    recipients = [mailbox for _, mailbox in content.list_recipients()]
    if not recipients:
        raise InvalidArgument("The email has no recipient.", "Give at least one address in `to`, `cc` or `bcc`.")
    _check_number(len(recipients), policy.max_recipients, "to, cc and bcc")
    policy.check_recipients(recipients)
    policy.check_answers(content.sender, content.reply_to, content.headers)
    return content


def _remove_duplicates(mailboxes: Sequence[Mailbox], seen: set[str]) -> tuple[Mailbox, ...]:
    """Return those whose address is not in `seen`, in any case, and note them there."""
    kept = []
    for mailbox in mailboxes:
        address = mailbox.address.lower()
        if address not in seen:
            seen.add(address)
            kept.append(mailbox)
    return tuple(kept)
