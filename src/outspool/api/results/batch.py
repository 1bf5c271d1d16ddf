"""The result of `send_batch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from outspool.api.results.base import OBJECTS, Noted, Result, format_mailbox
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus
from outspool.domain.summary import Pause, summarize

_TROUBLED = frozenset({EmailStatus.DEFERRED, EmailStatus.PARTIAL, EmailStatus.FAILED, EmailStatus.UNKNOWN})


class OutcomeResult(Result):
    """One email of a batch; `summary` says why it is not (wholly) sent."""

    id: str
    status: str
    to: list[str]
    summary: str | None = None


class BatchResult(Noted):
    """The emails' outcomes, in the order of the batch."""

    summary: str
    emails: Annotated[list[OutcomeResult], OBJECTS]


def batch_result(emails: Sequence[Email], *, now: datetime, pause: Pause | None) -> BatchResult:
    """Return the outcomes of a batch; sent emails need no summary."""
    counts = Counter(email.status for email in emails)
    return BatchResult(
        summary=f"{len(emails)} emails accepted: " + ", ".join(f"{n} {status}" for status, n in counts.items()) + ".",
        emails=[
            OutcomeResult(
                id=str(email.id),
                status=email.status,
                to=[format_mailbox(m) for m in email.content.to],
                summary=summarize(email, now=now, pause=pause) if email.status in _TROUBLED else None,
            )
            for email in emails
        ],
    )
