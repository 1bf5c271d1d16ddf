"""Whose fault a trouble of the account is: pure, so that every case can be tested.

A server's refusal to serve looks the same whether it means the account (a limit, an outage), one connection too many,
or the very email that is being offered: some answer a message they suspect with 421. The account's trouble must pause
it for all; one email's must not pause it for ever, and one connection's need not pause it at all. What tells them
apart is whether others are served meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from outspool.domain.delivery import Delivery, Phase, Verdict
from outspool.domain.email import Email
from outspool.errors import AccountTrouble, TroubleKind

SUSPECTED = "refused_for_now"
"""The problem's code of an email that was on offer when the server refused to serve, and may be the reason."""

_OFFERING = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE})
_HALFWAY = _OFFERING - {Phase.MAIL}
_OPENING = frozenset({Phase.CONNECT, Phase.LOGIN})
_TRANSIENT = range(400, 500)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What ails an SMTP account: the fields of an `AccountTrouble`, to be kept."""

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
    """Whose fault it is."""

    ACCOUNT = auto()
    """Nothing would fare better: rest the account."""
    CROWD = auto()
    """Others are served at this moment: try this email again in a moment."""
    EMAIL = auto()
    """Met again by this email after others had passed, or halfway through: its own, like any reply that defers it."""


def attribute_fault(trouble: Trouble, email: Email, *, others_pass: bool, account_is_well: bool) -> Fault:
    """Return whose fault `trouble` is, met by an attempt at `email`.

    `others_pass`: another email was served since this attempt began, or is on the wire. `account_is_well`: but for
    this trouble, so that others have been served since this email met trouble before, if it did.
    """
    if is_message_triggered(trouble) and is_suspected(email) and (account_is_well or _dropped_halfway(trouble)):
        return Fault.EMAIL
    # Connections that were opened with the old password go on: a refused login is the account's whatever they do.
    if others_pass and trouble.kind in (TroubleKind.NETWORK, TroubleKind.THROTTLED):
        return Fault.CROWD
    return Fault.ACCOUNT


def is_message_triggered(trouble: Trouble) -> bool:
    """Whether the server said "not now", or hung up, over this email's own envelope or content."""
    return trouble.phase in _OFFERING and (trouble.reply_code is None or trouble.reply_code in _TRANSIENT)


def _dropped_halfway(trouble: Trouble) -> bool:
    """Whether the server took login and sender, and hung up without a word over a recipient or the content.

    Twice over the same email that is no outage: else the last one left would keep its account resting for days.
    """
    return trouble.reply_code is None and trouble.phase in _HALFWAY


def is_suspected(email: Email) -> bool:
    """Whether it was on offer already when the server refused to serve."""
    return email.problem is not None and email.problem.code == SUSPECTED


def is_connection_limit(trouble: Trouble) -> bool:
    """Whether the server turned away one more connection, in words."""
    return trouble.phase in _OPENING and trouble.reply_code in _TRANSIENT


def find_silent_drop(delivery: Delivery) -> Trouble | None:
    """Return the trouble of a line that fell silent before any recipient's fate was decided and the message left."""
    outcomes = delivery.outcomes.values()
    if any(outcome.verdict is not Verdict.RETRY or outcome.reply is not None for outcome in outcomes):
        return None
    silent = next(iter(outcomes))
    return Trouble(TroubleKind.NETWORK, silent.why, "Sending resumes by itself.", phase=silent.phase or Phase.MAIL)
