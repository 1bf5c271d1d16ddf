"""Results about one email: its state, its schedule with the server's clock, its history."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import Field, WithJsonSchema

from outspool.api.results.base import OBJECTS, Noted, PreviewableHead, Result, Time, format_mailbox
from outspool.domain.attachment import Attachment
from outspool.domain.email import Email, Event, Problem, Recipient
from outspool.domain.outlook import Outlook
from outspool.domain.recurrence import Recurrence
from outspool.domain.schedule import describe_wait
from outspool.domain.series import Series
from outspool.domain.summary import next_attempt_at, summarize
from outspool.domain.transition import RESOLVED

_FIRST_EVENTS, _LAST_EVENTS = 5, 20


class EmailHead(PreviewableHead):
    """The fields that a caller acts on."""

    id: str


class RecipientResult(Result):
    """One recipient and the last reply about it."""

    address: str
    kind: str
    status: str
    code: int | None = None
    enhanced_code: str | None = None
    reply: str | None = None


class ErrorResult(Result):
    """Why an email is not (wholly) sent, and what to do."""

    code: str
    message: str
    hint: str | None = None


class RecurrenceResult(Result):
    """A series' rule, in the terms of `schedule_email`, and how many emails it has `made`."""

    recurrence: str
    timezone: str
    until: Time | None = None
    count: int | None = None
    made: int


class AttachmentResult(Result):
    """One attachment; `size` in bytes."""

    filename: str
    content_type: str
    size: int


class EmailResult(EmailHead, Noted):
    """An email as every tool returns it. `owner` and `agent` (the submitting program) are for operators only."""

    scheduled_at: Time | None = None
    timezone: str | None = None
    next_attempt_at: Time | None = None
    from_: str = Field(alias="from")
    to: list[str]
    cc: list[str] | None = None
    bcc: list[str] | None = None
    subject: str
    attachments: Annotated[list[AttachmentResult] | None, OBJECTS] = None
    created_at: Time
    sent_at: Time | None = None
    attempts: int
    message_id: str
    recipients: list[RecipientResult]
    recurrence: Annotated[RecurrenceResult | None, WithJsonSchema({"type": "object"})] = None
    series_id: str | None = None
    error: ErrorResult | None = None
    owner: str | None = None
    agent: str | None = None


class ScheduledHead(PreviewableHead):
    """The head with the server's clock, so that a caller notices a wrong idea of "now"."""

    scheduled_at: Time | None = None
    now: Time
    in_: str = Field(alias="in")


class ScheduledResult(ScheduledHead, EmailResult):
    """An email with the server's clock."""


class EventResult(Result):
    """One entry of the history; `by` caused it and is for operators only."""

    at: Time
    status: str
    code: str
    detail: str | None = None
    by: str | None = None


class StatusHead(EmailHead):
    """The declared result of `get_status`."""

    scheduled_at: Time | None = None
    next_attempt_at: Time | None = None
    recipients: Annotated[list[RecipientResult], OBJECTS]
    error: Annotated[ErrorResult | None, WithJsonSchema({"type": "object"})] = None
    events: Annotated[list[EventResult], OBJECTS]


class StatusResult(EmailResult):
    """An email with its history, oldest first."""

    events: list[EventResult]


def email_result(email: Email, *, now: datetime, outlook: Outlook, for_operator: bool = False) -> EmailResult:
    """Return `email` as it stands at `now`; for operators with its owner."""
    content = email.content
    return EmailResult(
        id=str(email.id),
        status=email.status,
        summary=summarize(email, now=now, outlook=outlook),
        from_=format_mailbox(content.sender),
        to=[format_mailbox(m) for m in content.to],
        cc=[format_mailbox(m) for m in content.cc] or None,
        bcc=[format_mailbox(m) for m in content.bcc] or None,
        subject=content.subject,
        attachments=[attachment_result(a) for a in content.attachments] or None,
        scheduled_at=email.scheduled_at,
        timezone=email.timezone,
        created_at=email.created_at,
        sent_at=email.sent_at,
        attempts=email.attempts,
        next_attempt_at=next_attempt_at(email, pause=outlook.pause),
        message_id=email.message_id,
        recipients=[_recipient(r) for r in email.recipients],
        recurrence=_recurrence(email.recurrence) if isinstance(email, Series) else None,
        series_id=None if email.series_id is None else str(email.series_id),
        error=_error(email.problem),
        owner=email.owner if for_operator else None,
        agent=email.client or email.agent or None if for_operator else None,
    )


def scheduled_result(email: Email, *, now: datetime, outlook: Outlook) -> ScheduledResult:
    """Return `email` with the server's `now` and the remaining time in words."""
    kept = email_result(email, now=now, outlook=outlook)
    wait = describe_wait(now, email.due_at) if email.due_at > now else "now"
    return ScheduledResult(**dict(kept), now=now, in_=wait)


def status_result(email: Email, *, now: datetime, outlook: Outlook, for_operator: bool = False) -> StatusResult:
    """Return `email` with its events; for operators with the cause of each."""
    kept = email_result(email, now=now, outlook=outlook, for_operator=for_operator)
    return StatusResult(**dict(kept), events=[_event(e, for_operator=for_operator) for e in _abridge(email.events)])


def _abridge(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Return the beginning and end of a long history, with an entry that counts the omitted ones."""
    omitted = len(events) - _FIRST_EVENTS - _LAST_EVENTS
    if omitted <= 0:
        return events
    omission = replace(events[_FIRST_EVENTS], code="omitted", detail=f"{omitted:,} events are left out here.")
    return (*events[:_FIRST_EVENTS], omission, *events[-_LAST_EVENTS:])


def attachment_result(attachment: Attachment) -> AttachmentResult:
    """Return one attachment as a result."""
    return AttachmentResult(filename=attachment.filename, content_type=attachment.content_type, size=attachment.size)


def _recipient(recipient: Recipient) -> RecipientResult:
    reply = recipient.reply
    return RecipientResult(
        address=recipient.address,
        kind=recipient.kind,
        status=recipient.status,
        code=reply.code if reply else None,
        enhanced_code=reply.enhanced_code if reply else None,
        reply=reply.text if reply else None,
    )


def _recurrence(rule: Recurrence) -> RecurrenceResult:
    return RecurrenceResult(
        recurrence=rule.cron, timezone=rule.timezone, until=rule.until, count=rule.count, made=rule.made
    )


def _error(problem: Problem | None) -> ErrorResult | None:
    if problem is None or problem.code == RESOLVED:
        return None
    return ErrorResult(code=problem.code, message=problem.message, hint=problem.hint or None)


def _event(event: Event, *, for_operator: bool) -> EventResult:
    by = None
    if for_operator and event.actor is not None:
        by = f"{event.actor.user} ({event.actor.agent})" if event.actor.agent else event.actor.user
    return EventResult(at=event.at, status=event.status, code=event.code, detail=event.detail or None, by=by)
