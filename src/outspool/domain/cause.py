"""The cause of a server's refusal, read from its codes and words, and the fix.

Codes alone do not tell: servers say ``550 5.7.1`` of a recipient, of a sender that is not the account's, of a missing
login and of spam. The words of the servers that people use do. Words that fit nothing leave the codes to decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from outspool.domain.email import Reply
from outspool.domain.phase import Phase
from outspool.domain.setting import Setting
from outspool.errors import TroubleKind


class Cause(StrEnum):
    """The thing that a refusal is about."""

    MACHINE = "machine"
    """The network address that we connect from."""
    LIMIT = "limit"
    """The account's sending limit."""
    BLOCKED = "blocked"
    """The account, which may not send until its owner settles something with the provider."""
    SENDER_DOMAIN = "sender_domain"
    """SPF, DKIM or DMARC of the sender's domain."""
    ENCRYPTION = "encryption"
    SENDER = "sender"
    """The sender's address, which this account may not use."""
    LOGIN = "login"
    """The missing or insufficient login."""
    RECIPIENT_COUNT = "recipient_count"
    SIZE = "size"
    FULL = "full"
    """The recipient's mailbox, which has no room."""
    RECIPIENT = "recipient"
    CONTENT = "content"
    OTHER = "other"


def find_cause(phase: Phase, reply: Reply) -> Cause:
    """Return what the negative `reply` in `phase` is about."""
    if not _QUOTES_ANOTHER.search(reply.text):
        for rule in _RULES:
            if phase in rule.phases and rule.fits(reply):
                return rule.cause
    if phase is Phase.RCPT:
        return Cause.RECIPIENT
    if phase is Phase.MAIL and reply.code == _NAME_NOT_ALLOWED:
        return Cause.SENDER
    return Cause.CONTENT if phase is Phase.MESSAGE and _POLICY.fullmatch(reply.enhanced_code or "") else Cause.OTHER


def find_account_trouble(phase: Phase, reply: Reply) -> TroubleKind | None:
    """Return the trouble if the words say that the account or this machine is refused, and not the email on offer."""
    is_about_us = phase in _SESSION and find_cause(phase, reply) in (Cause.LIMIT, Cause.BLOCKED, Cause.MACHINE)
    return TroubleKind.THROTTLED if is_about_us else None


FIXES: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.MACHINE: "The server takes no mail from this machine's address. Use a server that you log in to, on port "
        "587 or 465, or another network.",
        Cause.LIMIT: "Sending resumes by itself.",
        Cause.BLOCKED: "The provider keeps this account from sending. Look into its control panel, or ask its support.",
        Cause.SENDER_DOMAIN: "The sender's domain does not vouch for this server. Publish SPF and DKIM records for it, "
        f"or set {Setting.SENDER} to an address of the account.",
        Cause.ENCRYPTION: f"The server wants encryption. Set {Setting.MAIL_SECURITY.to('starttls')}.",
        Cause.SENDER: f"The server does not let this account send as that address. Set {Setting.SENDER} to an address "
        "of the account, or allow the address at the provider.",
        Cause.LOGIN: f"The server sends only for those who log in. Check {Setting.MAIL_USER} and "
        f"{Setting.MAIL_PASSWORD}, and that {Setting.SENDER} is an address of the account.",
        Cause.RECIPIENT_COUNT: "Send it to fewer recipients at a time.",
        Cause.SIZE: "The message is too large for the server. Send smaller files, or a link to them.",
        Cause.FULL: "The recipient's mailbox has no room. Try again later, or reach the recipient otherwise.",
        Cause.RECIPIENT: "Check the address, or what the reply says, before you retry.",
        Cause.CONTENT: "The server does not take this content. Change what the reply objects to before you retry.",
        Cause.OTHER: "Check what the reply says before you retry.",
    }
)
"""What to do about each cause, in two sentences at most."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """One way to tell a cause: by enhanced code or by words, in some phases, unless the code speaks of something else.

    `unless` is for enhanced codes that name another subject, as X.2.X does a mailbox (RFC 3463 §3.3).
    """

    cause: Cause
    phases: frozenset[Phase]
    enhanced: re.Pattern[str]
    words: re.Pattern[str]
    unless: re.Pattern[str]

    def fits(self, reply: Reply) -> bool:
        """Tell whether `reply` names this cause."""
        enhanced = reply.enhanced_code or ""
        if self.enhanced.fullmatch(enhanced):
            return True
        return not self.unless.fullmatch(enhanced) and self.words.search(reply.text) is not None


_SESSION = frozenset({Phase.CONNECT, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE})
_EVERY = frozenset(Phase)
_NEVER = r"(?!)"
_NAME_NOT_ALLOWED = 553


def _rule(
    cause: Cause, words: str, *, enhanced: str = _NEVER, unless: str = _NEVER, phases: frozenset[Phase] = _EVERY
) -> _Rule:
    return _Rule(cause, phases, re.compile(enhanced), re.compile(words, re.IGNORECASE | re.VERBOSE), re.compile(unless))


_QUOTES_ANOTHER = re.compile(r"\bsaid:|\bremote (server|host|mta)\b|in reply to\b", re.IGNORECASE)
"""The words are those of another server, about the server that answers us."""
_POLICY = re.compile(r"[45]\.[67]\.\d+")
_MAILBOX = r"[45]\.(1\.[0-6]|1\.10|2\.[1-3])"
_SIZE = r"[45]\.(3\.4|2\.3)"

_RULES = (
    _rule(
        Cause.MACHINE,
        r"""client\ host\b.{0,80}\b(block|reject|list|refus|denied|cannot\ find)
        | \b(your|sending|source|this|client)\ (ip|host|server|network|ip\ address)\b.{0,80}
          \b(block|list|ban|reject|den)
        | \bip\b.{0,60}\b(blocked|black\ ?listed|block\ ?listed|banned|listed\ (in|on|at|by)|reputation)
        | \b(reverse\ dns|ptr\ record|reverse\ hostname) | traffic\ not\ accepted\ from\ this\ ip""",
        enhanced=r"5\.7\.(25|511|6[0-4]\d|708)",
        unless=_MAILBOX,
        phases=_EVERY - {Phase.MESSAGE},  # a filter that has read the message may name an address in it
    ),
    _rule(
        Cause.BLOCKED,
        r"""\byour\ (account|domain|mailbox|access)\b.{0,60}\b(suspend|disabled|locked|blocked|paused|on\ hold)
        | \bsending\ (is\ |has\ been\ |was\ )?(paused|suspended|disabled|blocked)\b | \boutgoing\ blocked
        | \bdomain\ \S+\ is\ not\ allowed\ to\ send\b | bad\ outbound\ sender | exceeded\ probation
        | unusual\ sending\ activity""",
        enhanced=r"5\.7\.50[1-4]",
        unless=r"[45]\.2\.\d+",
    ),
    _rule(
        Cause.LIMIT,
        r"""\b(exceed\w*|reached|too\ many|over|maximum|limit\w*)\b.{0,60}\b(per\ (hour|day|minute|second)|this\ hour
          |today|hourly|daily|(sending|outgoing|outbound|submission|relay)\ (limit|quota|rate))
        | \b(hourly|daily|sending|outgoing|outbound|submission|rate|thread)\ (\w+\ ){0,3}(limit|quota|rate)\b.{0,40}
          \b(exceed|reach|hit)
        | \bthrottl | submissionquotaexceeded | \brate\ limit""",
        enhanced=r"5\.4\.5|5\.1\.90|5\.7\.(705|232|233)",
        unless=f"{_MAILBOX}|{_SIZE}",
    ),
    _rule(
        Cause.SENDER_DOMAIN,
        r"\b(spf|dkim|dmarc)\b",
        enhanced=r"[45]\.7\.(2[0-4]|2[6-9]|30|509|515)",
        unless=_MAILBOX,
    ),
    _rule(
        Cause.ENCRYPTION, r"\bstarttls\b | \bencryption\ (is\ )?required | \btls\ (is\ )?required", enhanced=r"5\.7\.11"
    ),
    _rule(
        Cause.SENDER,
        r"""\bnot\ owned\ by | \bsend\ ?as\ ?denied | \bas\ this\ sender | \baddress(es)?\ (is|are)\ not\ verified
        | \b(sender|from|mail\ from|return\ path)\ (e-?mail\ )?(address|domain)?.{0,60}\b(reject|denied|refus|forbid
          |invalid|unknown|not\ (allowed|verified|permitted|found|exist|accepted|valid|one\ of)|mismatch|does\ not)
        | \bnot\ (allowed|authori[sz]ed|permitted)\ to\ (send|use|submit).{0,40}\b(from|as|sender|behalf|domain)\b
        | \brelaying\ disallowed\ as | \bsender\ (verify|verification|denied)
        | \bdomain\ of\ sender | \brequired\ for\ sender | \bidentities\ failed""",
        enhanced=r"[45]\.(7\.60|1\.7|1\.8|2\.252)",
    ),
    _rule(
        Cause.LOGIN,
        r"""\brelay | \bauthenticat | \bnot\ logged\ in | \blog\ ?in\ (first|required|before) | \brcpthosts
        | \bauth\ (is\ )?required | \bcredentials\b | \bcannot\ deliver\ mail\ for""",
        enhanced=r"[45]\.7\.(3|54|57|64|367)",
        unless=_MAILBOX,
    ),
    _rule(
        Cause.RECIPIENT_COUNT,
        r"\btoo\ many\ (recipients|rcpt) | \brecipients?\ (count|limit) | \bmax(imum)?\ (number\ of\ )?recipients",
        enhanced=r"[45]\.5\.3",
    ),
    _rule(
        Cause.SIZE,
        r"""\b(message|mail|size|attachment)\b.{0,40}\b(too\ (large|big|long)|exceed)
        | \bexceed\w*.{0,40}\bsize\b | \btoo\ (large|big)\b""",
        enhanced=_SIZE,
        unless=_MAILBOX,
    ),
    _rule(
        Cause.FULL,
        r"\bover\ ?quota | \bquota\ exceeded | \bmailbox\ (is\ )?full | \bstorage\ allocation | \bout\ of\ storage",
        enhanced=r"[45]\.2\.2",
    ),
    _rule(
        Cause.RECIPIENT,
        r"""\b(user|recipient|mailbox|account|address)\b.{0,60}\b(unknown|not\ (found|exist)|does(n't|\ not)\ exist
          |disabled|unavailable|inactive|discontinued|have\ an?\b) | \bno\ such\ (user|person|recipient|mailbox)""",
        enhanced=_MAILBOX,
    ),
    _rule(
        Cause.CONTENT,
        r"\bspam | \bvirus | \bmalware | \bphish | \bcontent\b | \bpolic(y|ies)\b | \burl\b | \battachment",
        phases=frozenset({Phase.MESSAGE}),
    ),
)
