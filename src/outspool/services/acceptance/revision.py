"""Computes what an update, cancellation or retry makes of a stored email. Pure; the outbox stores the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal

from outspool.domain.email import Email, Problem, Recipient
from outspool.domain.policy_check import check_policy
from outspool.domain.principal import Actor
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import When
from outspool.domain.series import Series
from outspool.domain.status import WAITING, EmailStatus, RecipientStatus
from outspool.domain.transition import RESOLVED, Transition
from outspool.errors import InvalidArgument, WrongState
from outspool.services.acceptance.preparation import AcceptanceRules, pending_recipients
from outspool.services.acceptance.series import SERIES_FIELDS, change_series
from outspool.services.acceptance.validation import revise_content

Resolution = Literal[EmailStatus.SENT, EmailStatus.CANCELED]
"""What an operator can find out about a doubtful email: it was sent, or it was not and never shall be."""

_RESOLUTIONS: Mapping[Resolution, str] = MappingProxyType(
    {
        EmailStatus.SENT: "The operator says that it was sent; no server has confirmed that.",
        EmailStatus.CANCELED: "The operator says that it was not sent.",
    }
)
_RETRIABLE = frozenset({EmailStatus.FAILED, EmailStatus.PARTIAL, EmailStatus.UNKNOWN, EmailStatus.UNREADABLE})


def revise_email(
    email: Email, changes: Mapping[str, Any], when: When | None, *, rules: AcceptanceRules, now: datetime
) -> Email:
    """Return the email with `changes`, keyed like `EmailRequest`, and at the time `when` unless that is None.

    Attachments in `changes` have been read (`StagedAttachments`). Raises `Refusal`; `WrongState` if the email is no
    longer waiting.
    """
    if email.status not in WAITING:
        raise _wrong_state(email, "changed")
    if changes and any(r.status is RecipientStatus.SENT for r in email.recipients):
        raise WrongState(
            "Some recipients already have this email, so its content can no longer change.",
            "Cancel the rest with cancel_email, or send a new email.",
        )
    content_changes = {name: value for name, value in changes.items() if name not in SERIES_FIELDS}
    faults = RefusalCollector()
    with faults.collect():
        _check_both_texts(email, changes)
    with faults.collect():
        _check_time(email, changes, when, now)
    if content_changes:
        texts = {name: value for name, value in content_changes.items() if name != "attachments"}
        with faults.collect():
            content = revise_content(email.content, texts, rules.policy)
        faults.raise_any()
        content = replace(content, attachments=content_changes.get("attachments", content.attachments))
        email = replace(email, content=content, recipients=pending_recipients(content))
    faults.raise_any()
    if isinstance(email, Series):
        return change_series(email, changes, when, now=now)
    return email if when is None else _reschedule(email, when, expire_after=rules.expire_after, now=now)


def _check_both_texts(email: Email, changes: Mapping[str, Any]) -> None:
    """Raise `InvalidArgument` if one of the email's two texts would change and the other keep the old words."""
    names = ("body", "html")
    if all(getattr(email.content, name) for name in names) and sum(name in changes for name in names) == 1:
        [given] = [name for name in names if name in changes]
        [kept] = [name for name in names if name not in changes]
        if changes[given]:
            raise InvalidArgument(
                f"This email has body and html, and only {given} is given: {kept} would keep the old words.",
                f'Give both, or clear the other with {kept}: "".',
            )


def _check_time(email: Email, changes: Mapping[str, Any], when: When | None, now: datetime) -> None:
    """Raise a `Refusal` for a time that is wrong, or that this email cannot have."""
    if isinstance(email, Series):
        change_series(email, changes, when, now=now)
        return
    if not SERIES_FIELDS.isdisjoint(changes):
        raise InvalidArgument(
            "This is a single email: it has no recurrence, until or count, and cannot be paused.",
            "Leave them out; a series is made by schedule_email, after cancel_email for this one.",
        )
    if when is not None and not when.is_now:
        when.moment(now=now)


def _reschedule(email: Email, when: When, *, expire_after: timedelta, now: datetime) -> Email:
    if when.is_now:
        queued = replace(email, status=EmailStatus.QUEUED) if email.status is EmailStatus.SCHEDULED else email
        return replace(queued, scheduled_at=None, due_at=now, date=now, expires_at=now + expire_after)
    at = when.moment(now=now)
    status = EmailStatus.SCHEDULED if email.status is EmailStatus.QUEUED else email.status
    zone = when.zone or email.timezone
    return replace(
        email, status=status, scheduled_at=at, timezone=zone, due_at=at, date=at, expires_at=at + expire_after
    )


def describe_changes(changes: Mapping[str, Any], when: When | None) -> str:
    """Return the names of the changed fields, for the event."""
    return ", ".join([*changes, *(["scheduled_at"] if when is not None else [])])


def plan_cancellation(email: Email, *, actor: Actor, now: datetime) -> Transition:
    """Return the transition that cancels the email, or stops it if some recipients already have it.

    Raises `WrongState` if the email is no longer waiting.
    """
    if email.status is EmailStatus.UNREADABLE:
        return Transition.canceled(at=now)
    if email.status not in WAITING:
        raise _wrong_state(email, "canceled")
    if not any(r.status is RecipientStatus.SENT for r in email.recipients):
        return Transition.canceled(at=now, actor=actor)
    recipients = tuple(replace(r, status=RecipientStatus.FAILED) if r.is_owed else r for r in email.recipients)
    problem = Problem(code="stopped", message="Canceled for the recipients that did not have it yet.")
    return Transition.stopped(at=now, recipients=recipients, problem=problem, actor=actor)


def plan_resolution(email: Email, outcome: Resolution, *, actor: Actor, now: datetime) -> Transition:
    """Return the transition that gives a doubtful email the `outcome` that the operator has found out.

    Recipients to whom it was not sent are left as they are by ``sent``: the email is ``partial`` then, and a retry goes
    to them. Raises `WrongState` unless the email is in doubt.
    """
    if email.status is not EmailStatus.UNKNOWN:
        raise _wrong_state(email, "resolved")
    doubtful = [r for r in email.recipients if r.status is RecipientStatus.UNKNOWN] or email.owed
    settled = RecipientStatus.SENT if outcome is EmailStatus.SENT else RecipientStatus.FAILED
    recipients = tuple(
        replace(r, status=settled if r in doubtful else RecipientStatus.FAILED) if _is_open(r) else r
        for r in email.recipients
    )
    reached = [r.status is RecipientStatus.SENT for r in recipients]
    target = EmailStatus.SENT if all(reached) else EmailStatus.PARTIAL if any(reached) else EmailStatus.CANCELED
    problem = Problem(code=RESOLVED, message=_RESOLUTIONS[outcome])
    return Transition.resolved(target, at=now, recipients=recipients, problem=problem, actor=actor)


def _is_open(recipient: Recipient) -> bool:
    return recipient.is_owed or recipient.status is RecipientStatus.UNKNOWN


def plan_retry(
    email: Email, *, actor: Actor, rules: AcceptanceRules, now: datetime, override_policy: bool = False
) -> Transition:
    """Return the transition that sends the email to the recipients who lack it.

    Raises `WrongState` unless the email failed or is in doubt, and whatever `check_policy` raises.
    """
    if email.status not in _RETRIABLE:
        raise _wrong_state(email, "retried")
    if email.unreadable or isinstance(email, Series):
        raise _wrong_state(email, "retried")
    recipients = _reset_unsent(email)
    check_policy(rules.policy, replace(email, recipients=recipients, overrides_policy=override_policy))
    return Transition.retried(
        at=now,
        recipients=recipients,
        expires_at=now + rules.expire_after,
        overrides_policy=override_policy,
        actor=actor,
    )


def _reset_unsent(email: Email) -> tuple[Recipient, ...]:
    return tuple(
        r if r.status is RecipientStatus.SENT else replace(r, status=RecipientStatus.PENDING) for r in email.recipients
    )


_STATE_DESCRIPTIONS = {
    EmailStatus.SENDING: "is being sent right now",
    EmailStatus.SENT: "was already sent",
    EmailStatus.PARTIAL: "was already sent to some of its recipients",
    EmailStatus.CANCELED: "was canceled",
    EmailStatus.FAILED: "has failed for good",
    EmailStatus.UNKNOWN: "may already have been sent",
    EmailStatus.BOUNCED: "has bounced",
    EmailStatus.QUEUED: "is about to be sent by itself",
    EmailStatus.SCHEDULED: "waits for its time",
    EmailStatus.DEFERRED: "waits for another attempt",
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
        f"This email {_STATE_DESCRIPTIONS[email.status]} (status {email.status}), so it cannot be {verb}.",
        hint,
    )
