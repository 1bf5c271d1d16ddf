"""An email: its content, its recipients, and the state of its delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from outspool.domain.attachment import Attachment
from outspool.domain.principal import LOCAL_USER, Actor
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.errors import OutspoolError


class RecipientKind(StrEnum):
    """The field that names a recipient. A ``bcc`` recipient is in the envelope and in no header."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


class Priority(StrEnum):
    """Which due email is sent first.

    High priority moves an email ahead by a day, low moves it back by an hour; nothing waits longer than that.
    """

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """0 for high, 1 for normal, 2 for low."""
        return _RANKS[self]

    @property
    def delay(self) -> timedelta:
        """Added to the due time to get the email's turn; negative for high priority."""
        return _DELAYS[self]


_RANKS = MappingProxyType({Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2})
_DELAYS = MappingProxyType(
    {Priority.HIGH: timedelta(days=-1), Priority.NORMAL: timedelta(), Priority.LOW: timedelta(hours=1)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One mailbox (RFC 5322 §3.4): an ASCII `address` (domain in punycode) and a display `name`, maybe empty."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An SMTP reply: basic `code`, RFC 3463 `enhanced_code` or None, and `text` on one line."""

    code: int
    enhanced_code: str | None
    text: str

    def __str__(self) -> str:
        """Return the reply as logs show it."""
        return " ".join(str(part) for part in (self.code, self.enhanced_code, self.text) if part)

    def quote(self) -> str:
        """Return the reply quoted and attributed: a model must not take a server's words for outspool's."""
        return quote_server(str(self))


def quote_server(words: str) -> str:
    """Return a server's words, attributed, in quotes that they cannot close."""
    inner = "".join("'" if char in '"\u201c\u201d\u201e\u00ab\u00bb' else char for char in words)
    return f'the server said: "{inner}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One recipient and the last reply about it; `reply` is None until there is one."""

    kind: RecipientKind
    mailbox: Mailbox
    status: RecipientStatus = RecipientStatus.PENDING
    reply: Reply | None = None

    @property
    def address(self) -> str:
        """The address for ``RCPT TO``."""
        return self.mailbox.address

    @property
    def is_owed(self) -> bool:
        """True if the next attempt must include this recipient."""
        return self.status in (RecipientStatus.PENDING, RecipientStatus.DEFERRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why an email is not (wholly) sent: a stable `code`, a sentence, and what to do."""

    code: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: OutspoolError) -> Problem:
        """Return what `error` says: a problem is kept, an error is only raised."""
        return cls(code=error.code, message=error.message, hint=error.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of an email's append-only history: at `at` (UTC) it became `status`, because of `code`.

    `actor` caused it; None is outspool itself.
    """

    at: datetime
    status: EmailStatus
    code: str
    detail: str = ""
    actor: Actor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of the message: everything a caller can set and `update_email` can change, except the schedule."""

    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()
    reply_to: tuple[Mailbox, ...] = ()
    subject: str = ""
    body: str | None = None
    html: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    tags: tuple[str, ...] = ()
    priority: Priority = Priority.NORMAL

    def list_recipients(self) -> tuple[tuple[RecipientKind, Mailbox], ...]:
        """Return every recipient with its kind, in the order to, cc, bcc."""
        return (
            *((RecipientKind.TO, m) for m in self.to),
            *((RecipientKind.CC, m) for m in self.cc),
            *((RecipientKind.BCC, m) for m in self.bcc),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """One accepted email. All times are aware and in UTC.

    `message_id` is fixed at acceptance. `date` becomes the Date header: the scheduled time, else the time of
    acceptance. `due_at` is when the next attempt may start; `expires_at` is when outspool gives up.

    `timezone` is the zone in which the time was given: an IANA name or an offset like ``+02:00``.

    `attempts` counts attempts that reached the message; trouble of the account does not count.

    `version` grows with every write; a change is applied only to the version it was made from.

    `lease` is the token of the current or last claim.

    `owner` is the user whose mail it is, `identity` the address by which workers claim it (`Identity.address`); `agent`
    and `client` are the program that submitted it.

    An email made by a series has its `series_id` and is the only one with this `series_id` and `occurs_at`.

    `overrides_policy`: an operator decided to send it whatever the policy says.

    `unreadable` says why its row cannot be read, and is otherwise empty. Of an unreadable email only the id is certain;
    other fields hold what could be read, or are empty.
    """

    id: UUID
    status: EmailStatus
    content: Content
    recipients: tuple[Recipient, ...]
    message_id: str
    date: datetime
    created_at: datetime
    due_at: datetime
    expires_at: datetime
    identity: str
    owner: str = LOCAL_USER
    agent: str = ""
    client: str = ""
    scheduled_at: datetime | None = None
    timezone: str | None = None
    sent_at: datetime | None = None
    attempts: int = 0
    problem: Problem | None = None
    idempotency_key: str | None = None
    fingerprint: str = ""
    version: int = 0
    lease: UUID | None = None
    series_id: UUID | None = None
    occurs_at: datetime | None = None
    events: tuple[Event, ...] = ()
    overrides_policy: bool = False
    unreadable: str = ""

    @property
    def owed(self) -> tuple[Recipient, ...]:
        """The recipients that the next attempt must include."""
        return tuple(r for r in self.recipients if r.is_owed)
