"""Attributes account trouble to the account, the connection or the email.

A server's refusal looks the same whether it is about the account (a limit, an outage), one connection too many, or the
very email on offer: some servers answer a suspicious message with 421. Account trouble must pause every email; one
email's must not pause the account again and again; one connection's need not pause it at all. What tells them apart is
whether other emails are delivered meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from outspool.domain.delivery import Delivery, Phase, Verdict
from outspool.domain.email import Email
from outspool.errors import AccountTrouble, TroubleKind

SUSPECTED = "refused_for_now"
"""Problem code of an email that was on offer when the server refused to serve, and may be the cause."""

_OFFERING = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE})
_HALFWAY = _OFFERING - {Phase.MAIL}
_OPENING = frozenset({Phase.CONNECT, Phase.LOGIN})
_TRANSIENT = range(400, 500)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem of the SMTP account: the fields of an `AccountTrouble`, as a value."""

    kind: TroubleKind
    message: str
    hint: str = ""
    phase: str = ""
    reply_code: int | None = None

    @classmethod
    def of(cls, error: AccountTrouble) -> Trouble:
        """Return what `error` says."""
        return cls(error.kind, error.message, error.hint, error.phase, error.reply_code)


class Fault(Enum):
    """The party at fault."""

    ACCOUNT = auto()
    """No email would succeed: pause the account."""
    CROWD = auto()
    """Other emails are being delivered: try this one again in a moment."""
    EMAIL = auto()
    """This email met it again after others had succeeded, or in mid-transaction: defer it like any rejection."""


def attribute_fault(trouble: Trouble, email: Email, *, others_pass: bool, account_is_well: bool) -> Fault:
    """Return what is at fault for `trouble`, met by an attempt at `email`.

    `others_pass`: another email succeeded since this attempt began, or is being delivered. `account_is_well`: the
    breaker knows of no other trouble, so other emails have succeeded since this one last met trouble, if it did.
    """
    if is_message_triggered(trouble) and is_suspected(email) and (account_is_well or _is_drop_in_transaction(trouble)):
        return Fault.EMAIL
    # Connections opened with the old password keep working, so a refused login is always the account's fault.
    if others_pass and trouble.kind in (TroubleKind.NETWORK, TroubleKind.THROTTLED):
        return Fault.CROWD
    return Fault.ACCOUNT


def is_message_triggered(trouble: Trouble) -> bool:
    """Tell whether the server refused or hung up over this email's own envelope or content."""
    return trouble.phase in _OFFERING and (trouble.reply_code is None or trouble.reply_code in _TRANSIENT)


def _is_drop_in_transaction(trouble: Trouble) -> bool:
    """Tell whether the server accepted login and sender, then hung up over a recipient or the content.

    If the same email meets this twice, it is no outage: otherwise the last email left would pause its account for days.
    """
    return trouble.reply_code is None and trouble.phase in _HALFWAY


def is_suspected(email: Email) -> bool:
    """Tell whether the email was on offer when the server refused to serve before."""
    return email.problem is not None and email.problem.code == SUSPECTED


def is_connection_limit(trouble: Trouble) -> bool:
    """Tell whether the server said that there are too many connections."""
    return trouble.phase in _OPENING and trouble.reply_code in _TRANSIENT


def find_silent_drop(delivery: Delivery) -> Trouble | None:
    """Return the trouble if the connection was lost before the message was sent and any recipient settled."""
    outcomes = delivery.outcomes.values()
    if any(outcome.verdict is not Verdict.RETRY or outcome.reply is not None for outcome in outcomes):
        return None
    silent = next(iter(outcomes))
    return Trouble(TroubleKind.NETWORK, silent.why, "Sending resumes by itself.", phase=silent.phase or Phase.MAIL)
