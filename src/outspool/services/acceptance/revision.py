"""What may become of an email that is stored already when a caller changes, cancels or retries it. Stores nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from outspool.domain.email import Email, Problem, Recipient
from outspool.domain.policy_check import check_policy
from outspool.domain.schedule import When
from outspool.domain.status import WAITING, EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import InvalidArgument, WrongState
from outspool.services.acceptance import series
from outspool.services.acceptance.submission import Acceptance, pending
from outspool.services.acceptance.validation import revise_content

_RETRIABLE = frozenset({EmailStatus.FAILED, EmailStatus.PARTIAL, EmailStatus.UNKNOWN, EmailStatus.UNREADABLE})


def revised(email: Email, changes: Mapping[str, Any], when: When | None, *, terms: Acceptance, now: datetime) -> Email:
    """Return the email with `changes`, keyed like `EmailRequest`, and at another time unless `when` is None.

    The attachments among them are those of `Gathered`. Raises `Refusal`, `WrongState` when it waits no longer.
    """
    if email.status not in WAITING:
        raise _wrong_state(email, "changed")
    if changes and any(r.status is RecipientStatus.SENT for r in email.recipients):
        raise WrongState(
            "Some recipients already have this email, so its content can no longer change.",
            "Cancel the rest with cancel_email, or send a new email.",
        )
    of_content = {name: value for name, value in changes.items() if name not in series.FIELDS}
    if of_content:
        written = {name: value for name, value in of_content.items() if name != "attachments"}
        content = revise_content(email.content, written, terms.policy)
        content = replace(content, attachments=of_content.get("attachments", content.attachments))
        email = replace(email, content=content, recipients=pending(content))
    if email.recurrence is not None:
        return series.changed(email, changes, when, now=now)
    if of_content.keys() != changes.keys():
        raise InvalidArgument(
            "This is a single email: it has no recurrence, until or count, and cannot be paused.",
            "schedule_email makes a series.",
        )
    return email if when is None else _put_off(email, when, terms=terms, now=now)


def _put_off(email: Email, when: When, *, terms: Acceptance, now: datetime) -> Email:
    at = when.moment(now=now)
    status = EmailStatus.SCHEDULED if email.status is EmailStatus.QUEUED else email.status
    return replace(email, status=status, scheduled_at=at, due_at=at, date=at, expires_at=at + terms.expire_after)


def named(changes: Mapping[str, Any], when: When | None) -> str:
    """Return what a revision changed, for its event."""
    return ", ".join([*changes, *(["scheduled_at"] if when is not None else [])])


def cancellation(email: Email, *, now: datetime) -> Transition:
    """Return what cancels the email; where some have it already, what keeps it from the rest.

    Raises `WrongState` when it waits no longer.
    """
    if email.status is EmailStatus.UNREADABLE:
        return Transition.canceled(at=now)
    if email.status not in WAITING:
        raise _wrong_state(email, "canceled")
    if not any(r.status is RecipientStatus.SENT for r in email.recipients):
        return Transition.canceled(at=now)
    stopped = tuple(replace(r, status=RecipientStatus.FAILED) if r.is_owed else r for r in email.recipients)
    problem = Problem(code="stopped", message="Canceled for the recipients that did not have it yet.")
    return Transition.stopped(at=now, recipients=stopped, problem=problem)


def another_try(email: Email, *, terms: Acceptance, now: datetime, override_policy: bool = False) -> Transition:
    """Return what sends the email to whoever does not have it.

    Raises `WrongState` when it neither failed nor is in doubt, and as `check_policy` does.
    """
    if email.status not in _RETRIABLE:
        raise _wrong_state(email, "retried")
    if email.unreadable or email.recurrence is not None:
        raise _wrong_state(email, "retried")
    recipients = _owed_again(email)
    check_policy(terms.policy, replace(email, recipients=recipients, overrides_policy=override_policy))
    return Transition.retried(
        at=now, recipients=recipients, expires_at=now + terms.expire_after, overrides_policy=override_policy
    )


def _owed_again(email: Email) -> tuple[Recipient, ...]:
    return tuple(
        r if r.status is RecipientStatus.SENT else replace(r, status=RecipientStatus.PENDING) for r in email.recipients
    )


_WHY_NOT = {
    EmailStatus.SENDING: "is being sent right now",
    EmailStatus.SENT: "was already sent",
    EmailStatus.PARTIAL: "was already sent to some of its recipients",
    EmailStatus.CANCELED: "was canceled",
    EmailStatus.FAILED: "has failed for good",
    EmailStatus.UNKNOWN: "may already have been sent",
    EmailStatus.BOUNCED: "has bounced",
    EmailStatus.QUEUED: "is about to be sent by itself",
    EmailStatus.SCHEDULED: "waits for its time",
    EmailStatus.HELD: "waits for a person's approval",
    EmailStatus.RECURRING: "is a series, which makes emails of its own",
    EmailStatus.PAUSED: "is a series, which is paused",
    EmailStatus.ENDED: "is a series that has ended",
    EmailStatus.UNREADABLE: "cannot be read from the database",
}


def _wrong_state(email: Email, verb: str) -> WrongState:
    hint = "Use get_status to see where it stands."
    if email.status is EmailStatus.UNREADABLE:
        hint = "The operator mends its row; `outspool doctor` says what is wrong with it."
    return WrongState(
        f"This email {_WHY_NOT[email.status]} (status {email.status}), so it cannot be {verb}.",
        hint,
    )
