"""What an operator's word makes of a doubtful email."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.outbox_samples import NOW, OK, an_email

from outspool.domain.email import Email
from outspool.domain.principal import Actor, Role
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.summary import summarize
from outspool.errors import WrongState
from outspool.services.acceptance.revision import Resolution, plan_resolution

S, R = EmailStatus, RecipientStatus
OPERATOR = Actor(user="local", agent="command line", role=Role.OPERATOR)


def _doubtful(*statuses: RecipientStatus) -> Email:
    email = an_email(*(f"r{place}@example.com" for place in range(len(statuses))))
    pairs = zip(email.recipients, statuses, strict=True)
    recipients = tuple(replace(r, status=status, reply=OK if status is R.SENT else None) for r, status in pairs)
    return replace(email, status=S.UNKNOWN, recipients=recipients)


@pytest.mark.parametrize(
    ("before", "outcome", "after", "status"),
    [
        ((R.UNKNOWN,), S.SENT, (R.SENT,), S.SENT),
        ((R.UNKNOWN, R.UNKNOWN), S.SENT, (R.SENT, R.SENT), S.SENT),
        ((R.UNKNOWN, R.FAILED), S.SENT, (R.SENT, R.FAILED), S.PARTIAL),
        ((R.UNKNOWN, R.DEFERRED), S.SENT, (R.SENT, R.FAILED), S.PARTIAL),
        ((R.SENT, R.UNKNOWN), S.SENT, (R.SENT, R.SENT), S.SENT),
        ((R.PENDING,), S.SENT, (R.SENT,), S.SENT),
        ((R.UNKNOWN,), S.CANCELED, (R.FAILED,), S.CANCELED),
        ((R.UNKNOWN, R.FAILED), S.CANCELED, (R.FAILED, R.FAILED), S.CANCELED),
        ((R.UNKNOWN, R.DEFERRED), S.CANCELED, (R.FAILED, R.FAILED), S.CANCELED),
        ((R.SENT, R.UNKNOWN), S.CANCELED, (R.SENT, R.FAILED), S.PARTIAL),
        ((R.PENDING,), S.CANCELED, (R.FAILED,), S.CANCELED),
    ],
)
def test_the_word_settles_what_was_in_doubt_and_nothing_else(
    before: tuple[RecipientStatus, ...],
    outcome: Resolution,
    after: tuple[RecipientStatus, ...],
    status: EmailStatus,
) -> None:
    email = _doubtful(*before)
    change = plan_resolution(email, outcome, actor=OPERATOR, now=NOW)
    assert change.recipients is not None
    assert tuple(r.status for r in change.recipients) == after
    assert (change.target, change.code, change.actor) == (status, "resolved", OPERATOR)
    said = summarize(replace(email, status=status, recipients=change.recipients, problem=change.problem), now=NOW)
    assert "The operator says" in said
    assert "mail server took it" not in said


@pytest.mark.parametrize("status", sorted(set(S) - {S.UNKNOWN}))
def test_an_email_that_is_not_in_doubt_is_refused(status: EmailStatus) -> None:
    with pytest.raises(WrongState, match="so it cannot be resolved"):
        plan_resolution(replace(_doubtful(R.UNKNOWN), status=status), S.SENT, actor=OPERATOR, now=NOW)
