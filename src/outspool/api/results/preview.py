"""The preview of an email that is not stored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from outspool.api.results.base import OBJECTS, Noted, PreviewableHead, Time, format_mailbox
from outspool.api.results.email import AttachmentResult, attachment_result
from outspool.domain.outlook import Outlook, Senders
from outspool.domain.schedule import describe_wait
from outspool.domain.series import Series
from outspool.domain.summary import describe_senders, summarize
from outspool.services.acceptance.preparation import Preview


class PreviewResult(PreviewableHead, Noted):
    """An email as it would be sent."""

    status: str = "preview"
    from_: str = Field(alias="from")
    to: list[str]
    cc: list[str] | None = None
    bcc: list[str] | None = None
    subject: str
    text: str
    html: str | None = None
    size: int
    attachments: Annotated[list[AttachmentResult] | None, OBJECTS] = None
    scheduled_at: Time | None = None
    timezone: str | None = None
    now: Time
    in_: str | None = Field(alias="in")


def preview_result(preview: Preview, *, now: datetime, outlook: Outlook) -> PreviewResult:
    """Return `preview` as a result."""
    email, content = preview.email, preview.email.content
    return PreviewResult(
        summary=_summarize(preview, now=now, outlook=outlook),
        from_=format_mailbox(content.sender),
        to=[format_mailbox(m) for m in content.to],
        cc=[format_mailbox(m) for m in content.cc] or None,
        bcc=[format_mailbox(m) for m in content.bcc] or None,
        subject=content.subject,
        text=preview.text,
        html=content.html,
        size=preview.size,
        scheduled_at=email.scheduled_at,
        timezone=email.timezone,
        attachments=[attachment_result(a) for a in content.attachments] or None,
        now=now,
        in_=describe_wait(now, email.due_at) if email.scheduled_at else None,
    )


def _summarize(preview: Preview, *, now: datetime, outlook: Outlook) -> str:
    """Say when the email would leave, and what stands in its way."""
    email, count = preview.email, len(preview.email.recipients)
    is_certain = outlook.senders is Senders.LASTING and outlook.pause is None and not outlook.silence
    if isinstance(email, Series):
        more = f" {summarize(email, now=now, outlook=outlook)}"
    else:
        more = "" if is_certain else f" {describe_senders(now, outlook, later=email.scheduled_at is not None)}"
    when = describe_wait(now, email.due_at) if email.scheduled_at else "at once"
    return (
        f"Preview: nothing was stored or sent. It would {'leave' if is_certain else 'be due'} {when}, for {count} "
        f"{'recipient' if count == 1 else 'recipients'}, {preview.size:,} bytes.{more}"
    )
