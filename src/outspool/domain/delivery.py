"""What one attempt over SMTP came to, recipient by recipient, and the table that reads a server's reply.

An enhanced code (RFC 3463) decides before the basic one (RFC 5321 §4.2), because servers get the basic one wrong
more often: ``552 4.2.2`` is a full mailbox that may be emptied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from outspool.domain.email import Reply
from outspool.errors import TroubleKind


class Phase(StrEnum):
    """The command whose reply, or whose silence, is being read."""

    CONNECT = "connect"
    TLS = "starttls"
    LOGIN = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    MESSAGE = "message"
    """After the first byte of the message: a lost line leaves the message's owner in doubt (RFC 1047)."""


class Verdict(StrEnum):
    """What a recipient's server (or its silence) means for that recipient."""

    TAKEN = "taken"
    RETRY = "retry"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A verdict with the reply behind it; `reply` is None when the line went silent, `why` says so in words."""

    verdict: Verdict
    reply: Reply | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The outcome for every recipient of one attempt, by address."""

    outcomes: Mapping[str, Outcome]
