"""The result of `send_batch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from outspool.api.results.base import OBJECTS, Noted, Result, format_mailbox
from outspool.domain.email import Email
from outspool.domain.outlook import Outlook
from outspool.domain.status import EmailStatus
from outspool.domain.summary import summarize

_SENT = frozenset({EmailStatus.SENT, EmailStatus.SENDING})


class OutcomeResult(Result):
    """One email of a batch; `summary` says why it is not (wholly) sent, and what comes next."""

    id: str
    status: str
    to: list[str]
    summary: str | None = None


class BatchResult(Noted):
    """The emails' outcomes, in the order of the batch."""

    summary: str
    emails: Annotated[list[OutcomeResult], OBJECTS]


def batch_result(emails: Sequence[Email], *, now: datetime, outlook: Outlook) -> BatchResult:
    """Return the outcomes of a batch; sent emails need no summary."""
    counts = Counter(email.status for email in emails)
    return BatchResult(
        summary=f"{len(emails)} emails accepted: " + ", ".join(f"{n} {status}" for status, n in counts.items()) + ".",
        emails=[
            OutcomeResult(
                id=str(email.id),
                status=email.status,
                to=[format_mailbox(m) for m in email.content.to],
                summary=summarize(email, now=now, outlook=outlook) if email.status not in _SENT else None,
            )
            for email in emails
        ],
    )
