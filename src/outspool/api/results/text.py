"""Results as text: many clients show the model the text alone, so each says all that the next step needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from outspool.api.results.batch import BatchResult
from outspool.api.results.email import AttachmentResult, EmailResult, EventResult, RecipientResult, StatusResult
from outspool.api.results.listing import BriefResult, ListResult, format_counts
from outspool.api.results.preview import PreviewResult
from outspool.api.results.templates import TemplatesResult
from outspool.domain.email import quote_server
from outspool.domain.outlook import Outlook
from outspool.errors import brief

_MOST_NAMED = 10
_LONGEST_DETAIL = 300


def describe_email(result: EmailResult) -> str:
    """Return what a caller must know after a change: what holds now, and the id."""
    return _join([f"{result.summary} Email id: {result.id}", *_describe_notes(result.notes)])


def describe_status(result: StatusResult, outlook: Outlook) -> str:
    """Return everything about one email."""
    return _join(
        [
            result.summary,
            f"Email id: {result.id}",
            *_describe_error(result),
            *_describe_headers(result),
            *_describe_times(result, outlook),
            *_describe_attachments(result.attachments),
            "Recipients:",
            *map(_describe_recipient, result.recipients),
            "History:",
            *(_describe_event(event, outlook, result.timezone) for event in result.events),
            *_describe_notes(result.notes),
        ]
    )


def describe_list(result: ListResult, outlook: Outlook) -> str:
    """Return one page, an email a line."""
    counts = format_counts(result.counts) or "none"
    more = f" More follow: cursor {result.next_cursor}." if result.next_cursor else ""
    head = f"{len(result.emails)} shown, newest first. In the whole outbox: {counts}.{more}"
    return _join([head, *(_describe_row(email, outlook) for email in result.emails), *_describe_notes(result.notes)])


def describe_batch(result: BatchResult) -> str:
    """Return the outcome and the id of each email."""
    emails = (
        f"emails[{place}] {email.id} {email.status} to {_name(email.to)}{f': {email.summary}' if email.summary else ''}"
        for place, email in enumerate(result.emails)
    )
    return _join([result.summary, *emails, *_describe_notes(result.notes)])


def describe_preview(result: PreviewResult, outlook: Outlook) -> str:
    """Return the email as its sender would check it."""
    when = f"Leaves: {outlook.time(result.scheduled_at, result.timezone)}, {result.in_}" if result.scheduled_at else ""
    return _join(
        [
            result.summary,
            *_describe_notes(result.notes),
            *([when] if when else []),
            *_describe_headers(result),
            *_describe_attachments(result.attachments),
            "",
            result.text,
        ]
    )


def describe_templates(result: TemplatesResult) -> str:
    """Return each template with its variables."""
    lines = []
    for template in result.templates:
        if template.error is not None:
            lines.append(f"{template.name} cannot be used: {template.error}")
            continue
        needs = f"needs {', '.join(template.required)}" if template.required else "needs nothing"
        knows = f"; may be given {', '.join(template.defaults)}" if template.defaults else ""
        lines.append(f"{template.name} {needs}{knows}. {template.description or ''}".rstrip())
    return _join(lines) or "There are no templates."


def _join(lines: Iterable[str]) -> str:
    return "\n".join(lines)


def _describe_notes(notes: Sequence[str] | None) -> Iterator[str]:
    return (f"Note: {note}" for note in notes or ())


def _describe_error(result: EmailResult) -> Iterator[str]:
    if result.error is not None:
        yield f"Problem ({result.error.code}): {' '.join(filter(None, (result.error.hint, result.error.message)))}"


def _describe_headers(result: EmailResult | PreviewResult) -> Iterator[str]:
    yield f"From: {result.from_}"
    for name, addresses in (("To", result.to), ("Cc", result.cc), ("Bcc", result.bcc)):
        if addresses:
            yield f"{name}: {', '.join(addresses)}"
    yield f"Subject: {result.subject}"


def _describe_times(result: StatusResult, outlook: Outlook) -> Iterator[str]:
    for name, moment in (
        ("Accepted", result.created_at),
        ("Scheduled for", result.scheduled_at),
        ("Next attempt", result.next_attempt_at),
        ("Sent", result.sent_at),
    ):
        if moment is not None:
            yield f"{name}: {outlook.time(moment, result.timezone)}"
    if result.series_id is not None:
        yield f"Made by series: {result.series_id}"


def _describe_attachments(attachments: Sequence[AttachmentResult] | None) -> Iterator[str]:
    if attachments:
        files = (f"{brief(file.filename)} ({file.content_type}, {_describe_size(file.size)})" for file in attachments)
        yield f"Attachments: {', '.join(files)}"


def _describe_size(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"


def _describe_recipient(recipient: RecipientResult) -> str:
    words = " ".join(str(part) for part in (recipient.code, recipient.enhanced_code, recipient.reply) if part)
    said = f"; {_clip(quote_server(words))}" if words else ""
    return f"- {recipient.address} ({recipient.kind}): {recipient.status}{said}"


def _describe_event(event: EventResult, outlook: Outlook, zone: str | None) -> str:
    detail = f": {_clip(event.detail)}" if event.detail else ""
    return f"- {outlook.time(event.at, zone)} {event.status}, {event.code}{detail}"


def _describe_row(email: BriefResult, outlook: Outlook) -> str:
    when = _describe_when(email, outlook)
    return f"{email.id} {email.status}, {brief(email.subject)} to {_name(email.to)}; {when}. {email.summary}"


def _describe_when(email: BriefResult, outlook: Outlook) -> str:
    moments: Sequence[tuple[str, datetime | None]] = (
        ("sent", email.sent_at),
        ("scheduled for", email.scheduled_at),
        ("accepted", email.created_at),
    )
    word, moment = next((word, moment) for word, moment in moments if moment is not None)
    return f"{word} {outlook.time(moment, email.timezone)}"


def _name(addresses: Sequence[str]) -> str:
    rest = len(addresses) - _MOST_NAMED
    return ", ".join(addresses[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _clip(text: str) -> str:
    """Return the text on one line; a long one ends between words, with its quotes closed."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) <= _LONGEST_DETAIL:
        return line
    start = line[:_LONGEST_DETAIL].rpartition(" ")[0] or line[:_LONGEST_DETAIL]
    return f'{start} …"' if start.count('"') % 2 else f"{start} …"
