"""The policy, asked again before an email leaves and whenever it is retried: it may be stricter than at acceptance.

It may also be another process's: one without an allowlist accepts what a worker with one must not send.
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
    """Return the email owed to those alone to whom it may go, and why not to the others, None when it may go to all.

    The reason names those too whom an earlier attempt left out. A sender who is refused leaves nobody.
    """
    if email.overrides_policy:
        return email, None
    try:
        policy.check_sender(email.content.sender)
    except SenderRefused as refusal:
        return _without(email, frozenset(r.address for r in email.recipients)), Problem.of(refusal)
    refused = [r for r in email.recipients if _is_left_out(r) and policy.refuses(r.mailbox)]
    try:
        policy.check_recipients([r.mailbox for r in refused])
    except RecipientRefused as why:
        fewer = _without(email, frozenset(r.address for r in refused))
        return fewer, replace(Problem.of(why), hint=f"{why.hint} {_OVERRIDE}")
    return email, None


def check_policy(policy: Policy, email: Email) -> None:
    """Raise `SenderRefused`, or `RecipientRefused` when the email is owed to nobody to whom it may go."""
    fewer, refusal = apply_policy(policy, email)
    if refusal is not None and not fewer.owed:
        kind = SenderRefused if refusal.code == SenderRefused.code else RecipientRefused
        raise kind(refusal.message, refusal.hint)


def _without(email: Email, refused: Collection[str]) -> Email:
    return replace(
        email,
        recipients=tuple(
            replace(r, status=RecipientStatus.FAILED) if r.is_owed and r.address in refused else r
            for r in email.recipients
        ),
    )


def explain_refusal(refusal: Problem, change: Transition) -> Transition:
    """Return the end of an email that went to some, saying who else was left out and who can change that."""
    if change.target not in (EmailStatus.PARTIAL, EmailStatus.FAILED) or change.code == refusal.code:
        return change
    said = f" Of the others: {change.problem.message}" if change.problem and change.problem.message else ""
    problem = Problem(code=refusal.code, message=f"{refusal.message}{said}", hint=refusal.hint)
    return replace(change, code=refusal.code, detail=problem.message, problem=problem)


def _is_left_out(recipient: Recipient) -> bool:
    """Whether the recipient is owed the email, or was failed by us without a word of a server."""
    return recipient.is_owed or (recipient.status is RecipientStatus.FAILED and recipient.reply is None)
