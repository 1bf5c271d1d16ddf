"""A page of emails, and the number of emails by status."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from outspool.api.results.base import OBJECTS, Noted, Result, Time, format_mailbox
from outspool.domain.email import Email
from outspool.domain.outlook import Outlook
from outspool.domain.status import EmailStatus
from outspool.domain.summary import summarize
from outspool.ports.emails import MOST_COUNTED


class BriefResult(Result):
    """An email in a list."""

    id: str
    status: str
    summary: str
    to: list[str]
    subject: str
    created_at: Time
    scheduled_at: Time | None = None
    timezone: str | None = None
    sent_at: Time | None = None


class ListResult(Noted):
    """One page, newest first, and the number of emails by status (each at most 1,000)."""

    emails: Annotated[list[BriefResult], OBJECTS]
    next_cursor: str | None = None
    counts: dict[str, int]


def list_result(
    emails: tuple[Email, ...],
    *,
    next_cursor: str | None,
    counts: Mapping[EmailStatus, int],
    now: datetime,
    outlook: Outlook,
) -> ListResult:
    """Return one page of emails."""
    return ListResult(
        emails=[_brief(email, now, outlook) for email in emails],
        next_cursor=next_cursor,
        counts={str(status): count for status, count in counts.items()},
    )


def format_counts(counts: Mapping[str, int]) -> str:
    """Format the counts of a list: ``3 queued, 1,000+ sent``; empty if there are none.

    The plus is for `MOST_COUNTED` or more.
    """
    return ", ".join(f"{n:,}{'+' if n >= MOST_COUNTED else ''} {status}" for status, n in counts.items())


def _brief(email: Email, now: datetime, outlook: Outlook) -> BriefResult:
    return BriefResult(
        id=str(email.id),
        status=email.status,
        summary=summarize(email, now=now, outlook=outlook),
        to=[format_mailbox(m) for m in email.content.to],
        subject=email.content.subject,
        created_at=email.created_at,
        scheduled_at=email.scheduled_at,
        timezone=email.timezone,
        sent_at=email.sent_at,
    )
