"""Converts between rows and `Email`: the one place that knows both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import RowMapping

from outspool.adapters.sql.tables import emails
from outspool.domain.attachment import Attachment
from outspool.domain.email import (
    Content,
    Email,
    Event,
    Mailbox,
    Priority,
    Problem,
    Recipient,
    RecipientKind,
    Reply,
)
from outspool.domain.identity import SANDBOX_IDENTITY
from outspool.domain.principal import LOCAL_USER, SANDBOX_USER, Actor, Role
from outspool.domain.recurrence import Recurrence, read_recurrence
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.errors import InvalidSchedule, brief

Row = RowMapping
W = TypeVar("W", bound=StrEnum)


_CONVERTED = frozenset({"reply_to", "references", "headers", "tags", "priority"})
_PLAIN = tuple(part.name for part in fields(Content) if part.name in emails.c and part.name not in _CONVERTED)
"""The fields of a `Content` that stand in columns of their own names as they are."""


def content_values(content: Content) -> dict[str, Any]:
    """Return the columns of `emails` that hold the content, without recipients and attachments."""
    return {
        **{name: getattr(content, name) for name in _PLAIN},
        "from_address": content.sender.address,
        "from_name": content.sender.name,
        "reply_to": [{"address": m.address, "name": m.name} for m in content.reply_to],
        "references": list(content.references),
        "headers": dict(content.headers),
        "tags": list(content.tags),
        "attached": len(content.attachments),
        "priority": content.priority.value,
        "rank": content.priority.rank,
    }


def email_values(email: Email) -> dict[str, Any]:
    """Return the columns of `emails` for a new email."""
    return {
        **content_values(email.content),
        "id": email.id,
        "lane": email.identity,
        "owner": email.owner,
        "agent": email.agent,
        "client": email.client,
        "status": email.status.value,
        "version": email.version,
        "message_id": email.message_id,
        "date": email.date,
        "created_at": email.created_at,
        "scheduled_at": email.scheduled_at,
        "timezone": email.timezone,
        "due_at": email.due_at,
        "expires_at": email.expires_at,
        "attempts": email.attempts,
        # Versions without owners look keys up by lane; only these two owners' emails can be theirs.
        "idempotency_key": email.idempotency_key if email.owner in (LOCAL_USER, SANDBOX_USER) else None,
        "owner_key": email.idempotency_key,
        "fingerprint": email.fingerprint,
        "recurrence": recurrence_value(email.recurrence) if isinstance(email, Series) else None,
        "series_id": email.series_id,
        "occurs_at": email.occurs_at,
        "policy_override": email.overrides_policy,
    }


def revised_values(email: Email) -> dict[str, Any]:
    """Return the columns of `emails` that an update may change."""
    return {
        **content_values(email.content),
        "status": email.status.value,
        "date": email.date,
        "scheduled_at": email.scheduled_at,
        "timezone": email.timezone,
        "due_at": email.due_at,
        "expires_at": email.expires_at,
        "recurrence": recurrence_value(email.recurrence) if isinstance(email, Series) else None,
        "policy_override": email.overrides_policy,
        **problem_values(email.problem),
    }


def recurrence_value(rule: Recurrence) -> dict[str, Any]:
    """Return the column of `emails` that holds a series's rule."""
    return {
        "cron": rule.cron,
        "timezone": rule.timezone,
        "start": rule.start.isoformat() if rule.start else None,
        "until": rule.until.isoformat() if rule.until else None,
        "count": rule.count,
        "made": rule.made,
    }


def problem_values(problem: Problem | None) -> dict[str, Any]:
    """Return the three columns that hold the problem."""
    return {
        "problem_code": problem.code if problem else None,
        "problem_message": problem.message if problem else None,
        "problem_hint": problem.hint if problem else None,
    }


def recipient_values(email_id: UUID, recipients: Iterable[Recipient]) -> list[dict[str, Any]]:
    """Return the rows of `recipients`, numbered in order."""
    return [
        {
            "email_id": email_id,
            "position": position,
            "kind": r.kind.value,
            "address": r.mailbox.address,
            "name": r.mailbox.name,
            "status": r.status.value,
            "code": r.reply.code if r.reply else None,
            "enhanced_code": r.reply.enhanced_code if r.reply else None,
            "reply": r.reply.text if r.reply else None,
        }
        for position, r in enumerate(recipients)
    ]


def event_values(email_id: UUID, event: Event) -> dict[str, Any]:
    """Return the row of `events`."""
    return {
        "email_id": email_id,
        "at": event.at,
        "status": event.status.value,
        "code": event.code,
        "detail": event.detail,
        "actor": event.actor.user if event.actor else None,
        "actor_agent": event.actor.agent if event.actor else None,
        "actor_role": event.actor.role.value if event.actor else None,
    }


def read_event(row: Row) -> Event:
    """Return the event in `row`."""
    _check_texts("events", (row["code"], row["detail"]))
    actor = None
    if row["actor"] is not None:
        actor = Actor(user=row["actor"], agent=row["actor_agent"] or "", role=Role(row["actor_role"]))
    return Event(at=row["at"], status=EmailStatus(row["status"]), code=row["code"], detail=row["detail"], actor=actor)


def read_recipient(row: Row) -> Recipient:
    """Return the recipient in `row`."""
    _check_texts("recipients", (row["address"], row["name"], row["reply"] or "", row["enhanced_code"] or ""))
    if not row["address"]:
        raise ValueError("a recipient has no address")
    reply = None
    if row["code"] is not None:
        if not isinstance(row["code"], int):
            raise ValueError("the code of a recipient's reply is no number")
        reply = Reply(code=row["code"], enhanced_code=row["enhanced_code"], text=row["reply"] or "")
    return Recipient(
        kind=_word(RecipientKind, "the kind of a recipient", row["kind"]),
        mailbox=Mailbox(address=row["address"], name=row["name"]),
        status=_word(RecipientStatus, "the status of a recipient", row["status"]),
        reply=reply,
    )


def read_email(
    row: Row,
    recipients: tuple[Recipient, ...],
    events: tuple[Event, ...] = (),
    attachments: tuple[Attachment, ...] = (),
) -> Email:
    """Return the email or series in a row of `emails`, with its parts.

    Raises `ValueError` if the row holds what outspool never writes: another program wrote it, or a disk failed.
    """
    _check_row(row)
    if not recipients:
        raise ValueError("it has no recipients")
    if len(attachments) != row["attached"]:
        raise ValueError("rows of its attachments are missing")
    email = Email(
        id=row["id"],
        status=_word(EmailStatus, "status", row["status"]),
        content=_read_content(row, recipients, attachments),
        recipients=recipients,
        message_id=row["message_id"],
        date=row["date"],
        created_at=row["created_at"],
        due_at=row["due_at"],
        expires_at=row["expires_at"],
        identity=row["lane"],
        owner=row["owner"] or (SANDBOX_USER if row["lane"] == SANDBOX_IDENTITY else LOCAL_USER),
        agent=row["agent"] or "",
        client=row["client"] or "",
        scheduled_at=row["scheduled_at"],
        timezone=row["timezone"],
        sent_at=row["sent_at"],
        attempts=row["attempts"],
        problem=_read_problem(row),
        idempotency_key=row["owner_key"] or row["idempotency_key"],
        fingerprint=row["fingerprint"],
        version=row["version"],
        lease=row["lease"],
        series_id=row["series_id"],
        occurs_at=row["occurs_at"],
        overrides_policy=row["policy_override"],
        events=events,
    )
    rule = row["recurrence"]
    if rule is None:
        return email
    parts = {part.name: getattr(email, part.name) for part in fields(email)}
    return Series(**parts, recurrence=_read_recurrence(rule))


_TYPES = tuple((c.name, c.type.python_type) for c in emails.c if not isinstance(c.type, sa.JSON))
"""Column types to check on reading: SQLite stores any type in any column."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000


def _check_row(row: Row) -> None:
    """Raise `ValueError` for a column of the wrong type, an impossible time, or a wrong rank."""
    for name, expected in _TYPES:
        value = row[name]
        if value is None:
            continue
        if not isinstance(value, expected):
            raise ValueError(f"{name} is no {expected.__name__}")  # noqa: TRY004 - one kind of error for all
        if expected is datetime and not _FIRST_YEAR <= value.year <= _LAST_YEAR:
            raise ValueError(f"{name} is in the year {value.year}")
    if row["rank"] != _word(Priority, "priority", row["priority"]).rank:
        raise ValueError("rank is not that of its priority")


def _word(words: type[W], name: str, value: str) -> W:
    try:
        return words(value)
    except ValueError:
        raise ValueError(f"{name} is {brief(value, 30)}, which is none") from None


def _check_texts(name: str, texts: Iterable[object]) -> None:
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} holds no text")


def _read_problem(row: Row) -> Problem | None:
    if row["problem_code"] is None:
        return None
    return Problem(code=row["problem_code"], message=row["problem_message"], hint=row["problem_hint"])


def _read_recurrence(value: Mapping[str, Any]) -> Recurrence:
    times = {name: datetime.fromisoformat(value[name]) if value[name] else None for name in ("start", "until")}
    if any(moment is not None and moment.tzinfo is None for moment in times.values()):
        raise ValueError("recurrence holds a time without a zone")
    try:
        read_recurrence(value["cron"], timezone=value["timezone"], count=value["count"])
    except InvalidSchedule as error:
        raise ValueError(f"recurrence: {error.message}") from None
    if not isinstance(value["made"], int):
        raise ValueError("recurrence does not count what was made")  # noqa: TRY004 - one kind of error for all
    return Recurrence(**{**value, **times})


def _read_content(row: Row, recipients: tuple[Recipient, ...], attachments: tuple[Attachment, ...]) -> Content:
    def of(kind: RecipientKind) -> tuple[Mailbox, ...]:
        return tuple(r.mailbox for r in recipients if r.kind is kind)

    reply_to = tuple(Mailbox(address=m["address"], name=m["name"]) for m in row["reply_to"])
    _check_texts("reply_to", (text for m in reply_to for text in (m.address, m.name)))
    for name in ("references", "tags"):
        if not isinstance(row[name], list):
            raise ValueError(f"{name} is no list")  # noqa: TRY004 - one kind of error for all
        _check_texts(name, row[name])
    _check_texts("headers", (text for pair in row["headers"].items() for text in pair))
    return Content(
        **{name: row[name] for name in _PLAIN},
        sender=Mailbox(address=row["from_address"], name=row["from_name"]),
        to=of(RecipientKind.TO),
        cc=of(RecipientKind.CC),
        bcc=of(RecipientKind.BCC),
        reply_to=reply_to,
        references=tuple(row["references"]),
        headers=row["headers"],
        attachments=attachments,
        tags=tuple(row["tags"]),
        priority=_word(Priority, "priority", row["priority"]),
    )
