"""Applies the policy again before each attempt and retry, because it may be stricter than at acceptance.

Another process may also have accepted the email under a different policy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from outspool.domain.email import Email, Problem, Recipient
from outspool.domain.policy import Policy
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import RecipientRefused, SenderRefused

_OVERRIDE = "Only the operator can: `outspool retry --override-policy` sends this email all the same."


def apply_policy(policy: Policy, email: Email) -> tuple[Email, Problem | None]:
    """Return the email without forbidden recipients, and why some were left out; None if none were.

    The reason includes recipients left out by earlier attempts. A forbidden sender leaves no recipient.
    """
    if email.overrides_policy:
        return email, None
    try:
        policy.check_sender(email.content.sender)
    except SenderRefused as refusal:
        return _leave_out(email, frozenset(r.address for r in email.recipients)), Problem.of(refusal)
    refused = [r for r in email.recipients if _is_left_out(r) and policy.refuses(r.mailbox)]
    try:
        policy.check_recipients([r.mailbox for r in refused])
    except RecipientRefused as why:
        remaining = _leave_out(email, frozenset(r.address for r in refused))
        return remaining, replace(Problem.of(why), hint=f"{why.hint} {_OVERRIDE}")
    return email, None


def check_policy(policy: Policy, email: Email) -> None:
    """Raise `SenderRefused`, or `RecipientRefused` if no owed recipient is allowed."""
    remaining, refusal = apply_policy(policy, email)
    if refusal is not None and not remaining.owed:
        kind = SenderRefused if refusal.code == SenderRefused.code else RecipientRefused
        raise kind(refusal.message, refusal.hint)


def _leave_out(email: Email, refused: Collection[str]) -> Email:
    return replace(
        email,
        recipients=tuple(
            replace(r, status=RecipientStatus.FAILED) if r.is_owed and r.address in refused else r
            for r in email.recipients
        ),
    )


def explain_refusal(refusal: Problem, change: Transition) -> Transition:
    """Return `change` with a problem that says which recipients the policy left out."""
    if change.target not in (EmailStatus.PARTIAL, EmailStatus.FAILED) or change.code == refusal.code:
        return change
    suffix = f" Of the others: {change.problem.message}" if change.problem and change.problem.message else ""
    problem = Problem(code=refusal.code, message=f"{refusal.message}{suffix}", hint=refusal.hint)
    return replace(change, code=refusal.code, detail=problem.message, problem=problem)


def _is_left_out(recipient: Recipient) -> bool:
    """Tell whether the recipient is owed, or failed without any reply of a server."""
    return recipient.is_owed or (recipient.status is RecipientStatus.FAILED and recipient.reply is None)
