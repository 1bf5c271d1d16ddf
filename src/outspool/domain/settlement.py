"""Computes an email's next state from the outcome of an attempt. Pure, so that every case can be tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from outspool.domain.cap import FullQuota
from outspool.domain.cause import FIXES, Cause, find_cause
from outspool.domain.delivery import Delivery, Outcome, Verdict, is_recipient_limit
from outspool.domain.email import Email, Problem, Recipient
from outspool.domain.fault import SUSPECTED, Trouble, is_message_triggered, is_suspected
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import AccountTrouble

_STATUS_BY_VERDICT = {
    Verdict.TAKEN: RecipientStatus.SENT,
    Verdict.RETRY: RecipientStatus.DEFERRED,
    Verdict.REFUSED: RecipientStatus.FAILED,
    Verdict.IN_DOUBT: RecipientStatus.UNKNOWN,
}

_PASSING = frozenset({Cause.RECIPIENT, Cause.FULL, Cause.CONTENT, Cause.OTHER, Cause.LIMIT})
"""Causes that often pass by themselves: greylisting, a full mailbox, a server that is busy."""

_EXPIRED_REASON = "Out of time"
_ATTACHMENT_RETRY_DELAY = timedelta(minutes=1)
_DOUBT_HINT = "Ask the recipient, or look into the account's sent mail, before you retry."


def settle_delivery(
    email: Email, delivery: Delivery, *, now: datetime, delay: timedelta | None, resend_doubtful: bool
) -> Transition:
    """Return the transition of `email` after an attempt.

    `delay` is the time until the next attempt; None gives up. `resend_doubtful` treats a message in doubt as not
    accepted.
    """
    outcomes = delivery.outcomes
    if resend_doubtful:
        outcomes = {address: _treat_doubt_as_retry(outcome) for address, outcome in outcomes.items()}
    recipients = tuple(_apply_outcome(r, outcomes.get(r.address)) for r in email.recipients)
    attempts = email.attempts + 1
    why, fix = _explain_worst(recipients, outcomes)
    statuses = {r.status for r in recipients}
    if RecipientStatus.UNKNOWN in statuses:
        problem = Problem(code="in_doubt", message=why, hint=_DOUBT_HINT)
        return Transition.unknown(at=now, recipients=recipients, attempts=attempts, problem=problem)
    if _met_session_limit(outcomes):
        return Transition.handed_back(at=now, code="session_limit", detail=why)
    if _is_recipient_limit(outcomes):
        problem = Problem(code="deferred", message=why, hint="The rest follows at once.")
        return Transition.deferred(at=now, recipients=recipients, attempts=email.attempts, due_at=now, problem=problem)
    if any(r.is_owed for r in recipients):
        return _defer(email, recipients, why, fix, now=now, delay=delay)
    if statuses == {RecipientStatus.SENT}:
        return Transition.sent(at=now, recipients=recipients, attempts=attempts, detail=why)
    problem = Problem(code="refused", message=why, hint=fix or FIXES[Cause.RECIPIENT])
    return _finish(recipients, now=now, attempts=attempts, problem=problem)


def _defer(
    email: Email, recipients: tuple[Recipient, ...], why: str, fix: str, *, now: datetime, delay: timedelta | None
) -> Transition:
    """Return the deferral of an email with recipients left, or its end if there is no further attempt.

    `fix` is what a person can do meanwhile; empty if nothing is known.
    """
    attempts = email.attempts + 1
    if delay is None:
        reason = f"Out of retries after {attempts} attempts"
        problem = _give_up_problem("out_of_retries", reason, why, fix)
        return _finish(recipients, now=now, attempts=attempts, problem=problem)
    if now + delay >= email.expires_at:
        problem = _give_up_problem("expired", _EXPIRED_REASON, why, fix)
        return _finish(recipients, now=now, attempts=attempts, problem=problem)
    problem = Problem(code="deferred", message=why, hint=f"It will be tried again by itself. {fix}".rstrip())
    return Transition.deferred(at=now, recipients=recipients, attempts=attempts, due_at=now + delay, problem=problem)


def expire(email: Email, *, now: datetime) -> Transition:
    """Return the end of an email that has expired."""
    why = email.problem.message if email.problem else ""
    problem = _give_up_problem("expired", _EXPIRED_REASON, why)
    return _finish(email.recipients, now=now, attempts=email.attempts, problem=problem)


def defer_for_account(email: Email, trouble: Trouble, *, now: datetime, due_at: datetime | None = None) -> Transition:
    """Return the deferral of an email because of account trouble: no attempt is counted and its turn is kept.

    An email that may be the cause gets a later `due_at`, so that others are tried first, and a problem that records the
    suspicion (`outspool.domain.fault`).
    """
    suspected = is_suspected(email) or (due_at is not None and is_message_triggered(trouble))
    problem = Problem(code=SUSPECTED if suspected else AccountTrouble.code, message=trouble.message, hint=trouble.hint)
    return Transition.deferred(
        at=now, recipients=email.recipients, attempts=email.attempts, due_at=due_at or email.due_at, problem=problem
    )


def defer_on_refusal(email: Email, trouble: Trouble, *, now: datetime, delay: timedelta | None) -> Transition:
    """Return the state of an email that the server refuses while it serves others; the attempt is counted."""
    outcome = Outcome(verdict=Verdict.RETRY, why=trouble.message)
    delivery = Delivery(outcomes=dict.fromkeys((r.address for r in email.owed), outcome))
    change = settle_delivery(email, delivery, now=now, delay=delay, resend_doubtful=False)
    if change.target is not EmailStatus.DEFERRED or change.problem is None:
        return change
    return replace(change, problem=replace(change.problem, code=SUSPECTED))


def defer_for_quota(email: Email, full: FullQuota, *, now: datetime) -> Transition:
    """Return the deferral of an email beyond the daily quota; no attempt is counted."""
    due_at = max(email.due_at, full.until)
    return Transition.deferred(
        at=now, recipients=email.recipients, attempts=email.attempts, due_at=due_at, problem=full.problem
    )


def defer_for_attachments(email: Email, error: Problem, *, now: datetime, may_expire: bool = True) -> Transition:
    """Return the deferral of an email whose attachments are unavailable; no attempt is counted."""
    due_at = now + _ATTACHMENT_RETRY_DELAY
    if due_at >= email.expires_at and may_expire:
        problem = _give_up_problem("expired", _EXPIRED_REASON, error.message)
        return _finish(email.recipients, now=now, attempts=email.attempts, problem=problem)
    problem = replace(error, code="attachments_away")
    return Transition.deferred(
        at=now, recipients=email.recipients, attempts=email.attempts, due_at=due_at, problem=problem
    )


def fail_unsendable(email: Email, problem: Problem, *, now: datetime) -> Transition:
    """Return the failure of an email that cannot be composed or sent at all."""
    return _finish(email.recipients, now=now, attempts=email.attempts, problem=problem)


def _is_recipient_limit(outcomes: Mapping[str, Outcome]) -> bool:
    """Tell whether the server accepted some recipients and wants the others separately.

    RFC 5321 §4.5.3.1.10.
    """
    retries = [outcome.reply for outcome in outcomes.values() if outcome.verdict is Verdict.RETRY]
    any_accepted = any(outcome.verdict is Verdict.TAKEN for outcome in outcomes.values())
    return any_accepted and bool(retries) and all(r is not None and is_recipient_limit(r) for r in retries)


def _met_session_limit(outcomes: Mapping[str, Outcome]) -> bool:
    """Tell whether all recipients left were refused because of a limit of the connection, which carried mail before."""
    owed = [outcome for outcome in outcomes.values() if outcome.verdict is Verdict.RETRY]
    return bool(owed) and all(outcome.is_session_limit for outcome in owed)


def _finish(recipients: tuple[Recipient, ...], *, now: datetime, attempts: int, problem: Problem) -> Transition:
    """Return the end for all recipients owed: ``failed``, or ``partial`` if some have the email."""
    final_recipients = tuple(replace(r, status=RecipientStatus.FAILED) if r.is_owed else r for r in recipients)
    if any(r.status is RecipientStatus.SENT for r in final_recipients):
        return Transition.partial(at=now, recipients=final_recipients, attempts=attempts, problem=problem)
    return Transition.failed(at=now, recipients=final_recipients, attempts=attempts, problem=problem)


def _give_up_problem(code: str, reason: str, why: str, fix: str = "") -> Problem:
    message = f"{reason}; last heard: {why}" if why else f"{reason}."
    return Problem(code=code, message=message, hint=f"{fix} Use retry_email to try again.".lstrip())


def _treat_doubt_as_retry(outcome: Outcome) -> Outcome:
    return replace(outcome, verdict=Verdict.RETRY) if outcome.verdict is Verdict.IN_DOUBT else outcome


def _apply_outcome(recipient: Recipient, outcome: Outcome | None) -> Recipient:
    """Return the recipient after an attempt; unchanged if the attempt did not include it."""
    if outcome is None or not recipient.is_owed:
        return recipient
    return replace(recipient, status=_STATUS_BY_VERDICT[outcome.verdict], reply=outcome.reply or recipient.reply)


_WORST_FIRST = (RecipientStatus.UNKNOWN, RecipientStatus.DEFERRED, RecipientStatus.FAILED, RecipientStatus.SENT)


def _explain_worst(recipients: tuple[Recipient, ...], outcomes: Mapping[str, Outcome]) -> tuple[str, str]:
    """Return reason and fix of the recipient that fared worst; a missing reply is described in words.

    The fix is empty unless a reply of this attempt says what it is about.
    """
    for status in _WORST_FIRST:
        for recipient in recipients:
            if recipient.status is not status:
                continue
            outcome = outcomes.get(recipient.address)
            if outcome is not None and outcome.reply is None:
                return outcome.why, ""
            if recipient.reply is not None:
                return recipient.reply.quote(), _find_fix(outcome)
    return "", ""


def _find_fix(outcome: Outcome | None) -> str:
    """Return what to do about a refusal; empty for what is retried and may pass without."""
    if outcome is None or outcome.reply is None or outcome.phase is None or outcome.verdict is Verdict.TAKEN:
        return ""
    cause = find_cause(outcome.phase, outcome.reply)
    return "" if outcome.verdict is Verdict.RETRY and cause in _PASSING else FIXES[cause]
