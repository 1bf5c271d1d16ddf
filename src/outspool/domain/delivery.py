"""The outcome of one SMTP attempt for each recipient, and the table that interprets server replies.

An enhanced code (RFC 3463) takes precedence over the basic one (RFC 5321 §4.2), because servers get the basic one wrong
more often: ``552 4.2.2`` is a full mailbox that may be emptied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from outspool.domain.cause import Cause, find_account_trouble, find_cause
from outspool.domain.email import Reply
from outspool.domain.phase import Phase as Phase  # noqa: PLC0414 - the phase belongs to the outcome
from outspool.errors import TroubleKind


class Verdict(StrEnum):
    """The meaning of a reply, or of its absence, for a recipient."""

    TAKEN = "taken"
    RETRY = "retry"
    REFUSED = "refused"
    IN_DOUBT = "in_doubt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A verdict and the reply behind it, in `phase`; without a reply, `why` tells what happened.

    `is_session_limit`: the refusal is about the connection, which has carried enough mail, and not about the email.
    """

    verdict: Verdict
    reply: Reply | None = None
    why: str = ""
    phase: Phase | None = None
    is_session_limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The outcomes of one attempt, by address."""

    outcomes: Mapping[str, Outcome]


def parse_reply(code: int, text: str) -> Reply:
    """Parse a reply: split off the enhanced code (RFC 3463), reduce the text to one printable line of 300.

    `text` may have several lines, each repeating the enhanced code (RFC 2034 §4), and may contain anything, even lone
    surrogates.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = _ENHANCED.match(lines[0]) if lines else None
    enhanced = found[1] if found else None
    if enhanced:
        lines = [line[len(enhanced) :].strip() if _opens_with(line, enhanced) else line for line in lines]
    line = " ".join("".join(c if c.isprintable() else " " for c in " ".join(lines)).split())
    return Reply(code=code, enhanced_code=enhanced, text=line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")


def classify(phase: Phase, reply: Reply) -> Verdict | TroubleKind:
    """Return the meaning of `reply` in `phase`: a Verdict on the message, or a TroubleKind of the account.

    ``TAKEN`` means that the command was accepted; only after MESSAGE does it mean that the server accepted the message.
    A TroubleKind is never returned if the server may have the message.
    """
    if reply.code >= _FIRST_NEGATIVE:
        if (kind := find_account_trouble(phase, reply)) is not None:
            return kind
        if phase is Phase.RCPT and find_cause(phase, reply) is Cause.RECIPIENT_COUNT:
            return Verdict.RETRY  # the others are sent next time
    basic, enhanced = str(reply.code), reply.enhanced_code or ""
    for rule in _TABLE:
        if phase in rule.phases and rule.basic.fullmatch(basic) and rule.enhanced.fullmatch(enhanced):
            return rule.meaning
    # Not a valid reply (RFC 5321 §4.2): it says nothing about a message that was sent.
    return Verdict.IN_DOUBT if phase is Phase.MESSAGE else Verdict.RETRY


def is_session_limit(phase: Phase, reply: Reply) -> bool:
    """Tell whether a refusal on a connection that has carried mail may be about the connection alone.

    Servers end long sessions with 421, but also with 450 to 452 at MAIL or DATA, or with a 554 that says so in words.
    The email then deserves one try over a new connection before the refusal counts.
    """
    if reply.enhanced_code == "4.4.5" or _TOO_MANY_IN_SESSION.search(reply.text):
        return reply.code >= _FIRST_NEGATIVE
    return phase in (Phase.MAIL, Phase.DATA) and reply.code in _FOR_NOW


def is_recipient_limit(reply: Reply) -> bool:
    """Tell whether a refusal at RCPT, after others were accepted, says that one message has too many recipients.

    RFC 5321 §4.5.3.1.10 says 452, older servers 552, some 550 with words, and the enhanced code is X.5.3 where it is
    given.
    """
    if find_cause(Phase.RCPT, reply) is Cause.RECIPIENT_COUNT:
        return True
    return reply.enhanced_code is None and reply.code in _TOO_MANY_RECIPIENTS


def is_about_our_name(reply: Reply) -> bool:
    """Tell whether a reply, to any command, refuses the name that we gave with EHLO."""
    return reply.code >= _FIRST_NEGATIVE and _OUR_NAME.search(reply.text) is not None


_FIRST_NEGATIVE = 400
_FOR_NOW = (450, 451, 452)
_TOO_MANY_RECIPIENTS = (452, 552)
_TOO_MANY_IN_SESSION = re.compile(
    r"(messages?|mails?|emails?|transactions?)\b.{0,40}\b(per|in|this|one|during)\b.{0,20}\b(session|connection)"
    r"|\bsession\b.{0,20}\b(limit|exceed)|\b(limit|maximum)\b.{0,40}\bsession\b"
    r"|\breconnect|\bnew (session|connection)\b",
    re.IGNORECASE,
)
_OUR_NAME = re.compile(
    r"\b(helo|ehlo)\b.{0,80}\b(reject|denied|invalid|need|require|must|bad|not|unknown|fqdn|fully|impersonat|forged)"
    r"|\b(invalid|bad|malformed|forged|illegal|wrong|unacceptable)\W{1,3}(\w+\W{1,3}){0,2}(helo|ehlo)\b",
    re.IGNORECASE,
)
_LONGEST = 300
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")


def _opens_with(line: str, enhanced: str) -> bool:
    found = _ENHANCED.match(line)
    return found is not None and found[1] == enhanced


@dataclass(frozen=True, slots=True)
class _Rule:
    """One row of the table: phases, patterns for the basic and the enhanced code, and their meaning."""

    phases: frozenset[Phase]
    basic: re.Pattern[str]
    enhanced: re.Pattern[str]
    meaning: Verdict | TroubleKind


def _rule(phases: Iterable[Phase], basic: str, enhanced: str, meaning: Verdict | TroubleKind) -> _Rule:
    return _Rule(frozenset(phases), re.compile(basic), re.compile(enhanced), meaning)


_ALL = tuple(Phase)
_BEFORE = tuple(phase for phase in Phase if phase is not Phase.MESSAGE)
_BUT_DATA = tuple(phase for phase in Phase if phase is not Phase.DATA)

_TABLE = (
    # Accepted. The enhanced code of a positive reply does not change that.
    _rule([Phase.DATA], "3..", ".*", Verdict.TAKEN),
    _rule(_BUT_DATA, "2..", ".*", Verdict.TAKEN),
    # The account: nothing was sent, and another message would be rejected too.
    _rule(_ALL, "[45]..", r"5\.4\.5", TroubleKind.THROTTLED),  # Gmail: daily limit
    _rule(_ALL, "421", r"4\.7\..*", TroubleKind.THROTTLED),
    _rule(_BEFORE, "421", ".*", TroubleKind.NETWORK),  # after the message it may be about the message: RETRY below
    _rule([Phase.TLS], ".*", ".*", TroubleKind.TLS),
    _rule(_ALL, "454", r"4\.7\.0", TroubleKind.THROTTLED),  # Gmail: too many logins
    _rule([Phase.LOGIN], "432", ".*", TroubleKind.LOGIN),  # RFC 4954: the password must be changed first
    _rule([Phase.LOGIN], "4..", ".*", TroubleKind.THROTTLED),
    _rule([Phase.LOGIN], ".*", ".*", TroubleKind.LOGIN),
    _rule([Phase.CONNECT], "[45]..", r"[45]\.7\..*", TroubleKind.THROTTLED),
    _rule([Phase.CONNECT], ".*", ".*", TroubleKind.NETWORK),
    _rule(_BEFORE, "53[0458]", ".*", TroubleKind.LOGIN),
    _rule(_BEFORE, "[45]..", r"5\.7\.[89]", TroubleKind.LOGIN),  # after the message 5.7.9 is Yahoo's policy: REFUSED
    # The message or the recipient.
    _rule([Phase.RCPT], "[45]..", r"[45]\.5\.3", Verdict.RETRY),  # too many recipients: the others are sent next time
    _rule([Phase.RCPT], "552", "", Verdict.RETRY),  # the same, RFC 5321 §4.5.3.1.10
    _rule(_ALL, "503", ".*", Verdict.RETRY),  # bad sequence of commands: the connection's fault, not the message's
    _rule(_ALL, "[45]..", r"4\..*", Verdict.RETRY),
    _rule(_ALL, "[45]..", r"5\..*", Verdict.REFUSED),
    _rule(_ALL, "4..", ".*", Verdict.RETRY),
    _rule(_ALL, "5..", ".*", Verdict.REFUSED),
)
