"""The results of every tool. Null fields are left out; times are RFC 3339 UTC.

Every tool that returns an email returns all of `EmailResult`. Only `get_status` *declares* all of it, because every
client's model pays for the tool list on every turn; the others declare the head that a caller acts on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from outspool.domain.attachment import Attachment
from outspool.domain.email import Email, Event, Mailbox, Problem, Recipient
from outspool.domain.recurrence import Recurrence
from outspool.domain.schedule import describe_wait
from outspool.domain.status import EmailStatus
from outspool.domain.summary import Pause, next_attempt_at, summarize, utc
from outspool.ports import MOST_COUNTED
from outspool.services.submission import Preview
from outspool.services.templates import TemplateCard

Time = Annotated[datetime, PlainSerializer(utc, return_type=str)]


_FIRST_EVENTS, _LAST_EVENTS = 5, 20


_OBJECTS = WithJsonSchema({"type": "array", "items": {"type": "object"}})
"""Declares a list of what explains itself."""


class Result(BaseModel):
    """Base of all: written by name or by alias, dumped by alias."""

    model_config = ConfigDict(populate_by_name=True)


class PreviewableHead(Result):
    """What `send_email` and `schedule_email` declare: a preview has no id."""

    id: str | None = None
    status: str
    summary: str


class RecipientResult(Result):
    """One recipient and the last word of a server about it."""

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
    """The rule of a series, in the words of `schedule_email`, and how many emails it has `made`."""

    recurrence: str
    timezone: str
    until: Time | None = None
    count: int | None = None
    made: int


class AttachmentResult(Result):
    """One file of an email; `size` in bytes."""

    filename: str
    content_type: str
    size: int


class EmailHead(PreviewableHead):
    """What a caller acts on next."""

    id: str


class EmailResult(EmailHead):
    """An email as every tool returns it."""

    scheduled_at: Time | None = None
    next_attempt_at: Time | None = None
    from_: str = Field(alias="from")
    to: list[str]
    cc: list[str] | None = None
    bcc: list[str] | None = None
    subject: str
    attachments: Annotated[list[AttachmentResult] | None, _OBJECTS] = None
    created_at: Time
    sent_at: Time | None = None
    attempts: int
    message_id: str
    recipients: list[RecipientResult]
    recurrence: Annotated[RecurrenceResult | None, WithJsonSchema({"type": "object"})] = None
    series_id: str | None = None
    error: ErrorResult | None = None


class ScheduledHead(PreviewableHead):
    """The head with the server's clock, so that a wrong idea of "now" shows."""

    scheduled_at: Time | None = None
    now: Time
    in_: str = Field(alias="in")


class ScheduledResult(ScheduledHead, EmailResult):
    """An email with the server's clock."""


class PreviewResult(PreviewableHead):
    """What would go out."""

    status: str = "preview"
    from_: str = Field(alias="from")
    to: list[str]
    cc: list[str] | None = None
    bcc: list[str] | None = None
    subject: str
    text: str
    html: str | None = None
    size: int
    scheduled_at: Time | None = None
    now: Time
    in_: str | None = Field(alias="in")


class TemplateHead(Result):
    """What a template needs in `variables`, and the defaults of those that may be left out."""

    name: str
    required: list[str]
    defaults: dict[str, Any]


class TemplateResult(TemplateHead):
    """One template; `error` says why it cannot be used."""

    description: str | None = None
    subject: str | None = None
    error: str | None = None


class TemplatesHead(Result):
    """What `list_templates` declares."""

    templates: list[TemplateHead]


class TemplatesResult(Result):
    """All templates, by name."""

    templates: list[TemplateResult]


class EventResult(Result):
    """One line of an email's history."""

    at: Time
    status: str
    code: str
    detail: str | None = None


class StatusResult(EmailResult):
    """An email with its history, oldest first."""

    events: list[EventResult]


class BriefResult(Result):
    """An email in a list."""

    id: str
    status: str
    summary: str
    to: list[str]
    subject: str
    created_at: Time
    scheduled_at: Time | None = None
    sent_at: Time | None = None


class OutcomeResult(Result):
    """One email of a batch; the `summary` says why it is not (wholly) sent."""

    id: str
    status: str
    to: list[str]
    summary: str | None = None


class BatchResult(Result):
    """The outcome of each email, in the order of the batch."""

    summary: str
    emails: Annotated[list[OutcomeResult], _OBJECTS]


class ListResult(Result):
    """One page, newest first, and how many emails stand in each status altogether (of each at most 10,000)."""

    emails: list[BriefResult]
    next_cursor: str | None = None
    counts: dict[str, int]


def email_result(email: Email, *, now: datetime, pause: Pause | None) -> EmailResult:
    """Show `email` as it stands at `now`."""
    content = email.content
    return EmailResult(
        id=str(email.id),
        status=email.status,
        summary=summarize(email, now=now, pause=pause),
        from_=written(content.sender),
        to=[written(m) for m in content.to],
        cc=[written(m) for m in content.cc] or None,
        bcc=[written(m) for m in content.bcc] or None,
        subject=content.subject,
        attachments=[_attachment(a) for a in content.attachments] or None,
        scheduled_at=email.scheduled_at,
        created_at=email.created_at,
        sent_at=email.sent_at,
        attempts=email.attempts,
        next_attempt_at=next_attempt_at(email, pause=pause),
        message_id=email.message_id,
        recipients=[_recipient(r) for r in email.recipients],
        recurrence=_recurrence(email.recurrence),
        series_id=None if email.series_id is None else str(email.series_id),
        error=_error(email.problem),
    )


_TROUBLED = frozenset({EmailStatus.DEFERRED, EmailStatus.PARTIAL, EmailStatus.FAILED, EmailStatus.UNKNOWN})


def batch_result(emails: Sequence[Email], *, now: datetime, pause: Pause | None) -> BatchResult:
    """Show what became of each email of a batch; of most there is nothing to say."""
    counts = Counter(email.status for email in emails)
    return BatchResult(
        summary=f"{len(emails)} emails accepted: " + ", ".join(f"{n} {status}" for status, n in counts.items()) + ".",
        emails=[
            OutcomeResult(
                id=str(email.id),
                status=email.status,
                to=[written(m) for m in email.content.to],
                summary=summarize(email, now=now, pause=pause) if email.status in _TROUBLED else None,
            )
            for email in emails
        ],
    )


def scheduled_result(email: Email, *, now: datetime, pause: Pause | None) -> ScheduledResult:
    """Show `email` with the server's `now` and the time to go in words."""
    shown = email_result(email, now=now, pause=pause)
    wait = describe_wait(now, email.due_at) if email.due_at > now else "now"
    return ScheduledResult(**dict(shown), now=now, in_=wait)


def preview_result(preview: Preview, *, now: datetime) -> PreviewResult:
    """Show what would go out."""
    email, content = preview.email, preview.email.content
    count = len(email.recipients)
    when = f"{describe_wait(now, email.due_at)}" if email.scheduled_at else "at once"
    series = f" {summarize(email, now=now)}" if email.recurrence is not None else ""
    return PreviewResult(
        summary=f"Preview: nothing was stored or sent. It would leave {when}, for {count} "
        f"{'recipient' if count == 1 else 'recipients'}, {preview.size:,} bytes.{series}",
        from_=written(content.sender),
        to=[written(m) for m in content.to],
        cc=[written(m) for m in content.cc] or None,
        bcc=[written(m) for m in content.bcc] or None,
        subject=content.subject,
        text=preview.text,
        html=content.html,
        size=preview.size,
        scheduled_at=email.scheduled_at,
        now=now,
        in_=describe_wait(now, email.due_at) if email.scheduled_at else None,
    )


def templates_result(cards: Sequence[TemplateCard]) -> TemplatesResult:
    """Show the templates there are."""
    return TemplatesResult(templates=[template_result(card) for card in cards])


def template_result(card: TemplateCard) -> TemplateResult:
    """Show one template."""
    return TemplateResult(
        name=card.name,
        description=card.description or None,
        subject=card.subject or None,
        required=list(card.required),
        defaults=dict(card.defaults),
        error=card.trouble or None,
    )


def status_result(email: Email, *, now: datetime, pause: Pause | None) -> StatusResult:
    """Show `email` with its events."""
    shown = email_result(email, now=now, pause=pause)
    return StatusResult(**dict(shown), events=[_event(e) for e in _abridged(email.events)])


def _abridged(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """Return the beginning and the end of a long history, and a line that says what is left out."""
    omitted = len(events) - _FIRST_EVENTS - _LAST_EVENTS
    if omitted <= 0:
        return events
    gap = replace(events[_FIRST_EVENTS], code="omitted", detail=f"{omitted:,} events are left out here.")
    return (*events[:_FIRST_EVENTS], gap, *events[-_LAST_EVENTS:])


def list_result(
    emails: tuple[Email, ...],
    *,
    next_cursor: str | None,
    counts: Mapping[EmailStatus, int],
    now: datetime,
    pause: Pause | None,
) -> ListResult:
    """Show one page of emails."""
    return ListResult(
        emails=[_brief(email, now, pause) for email in emails],
        next_cursor=next_cursor,
        counts={str(status): count for status, count in counts.items()},
    )


def counted(counts: Mapping[str, int]) -> str:
    """Write the counts of a list: ``3 queued, 10,000+ sent``; nothing if there are none."""
    return ", ".join(f"{n:,}{'+' if n >= MOST_COUNTED else ''} {status}" for status, n in counts.items())


def written(mailbox: Mailbox) -> str:
    """Write a mailbox so that it can be given back as an argument: ``"Doe, Jane" <jane@example.com>``."""
    if not mailbox.name:
        return mailbox.address
    plain = all(c.isalnum() or c in " '-_" for c in mailbox.name)
    name = mailbox.name if plain else '"' + mailbox.name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{mailbox.address}>"


def _brief(email: Email, now: datetime, pause: Pause | None) -> BriefResult:
    return BriefResult(
        id=str(email.id),
        status=email.status,
        summary=summarize(email, now=now, pause=pause),
        to=[written(m) for m in email.content.to],
        subject=email.content.subject,
        created_at=email.created_at,
        scheduled_at=email.scheduled_at,
        sent_at=email.sent_at,
    )


def _attachment(attachment: Attachment) -> AttachmentResult:
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


def _recurrence(rule: Recurrence | None) -> RecurrenceResult | None:
    if rule is None:
        return None
    return RecurrenceResult(
        recurrence=rule.cron, timezone=rule.timezone, until=rule.until, count=rule.count, made=rule.made
    )


def _error(problem: Problem | None) -> ErrorResult | None:
    if problem is None:
        return None
    return ErrorResult(code=problem.code, message=problem.message, hint=problem.hint or None)


def _event(event: Event) -> EventResult:
    return EventResult(at=event.at, status=event.status, code=event.code, detail=event.detail or None)
