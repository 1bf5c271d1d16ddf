"""The records of a trial: all that the checker sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from outspool.domain.status import EmailStatus, RecipientStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One line of an email's history."""

    at: datetime
    status: EmailStatus
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEmail:
    """One row of the outbox with what belongs to it; `recipients` maps addresses to where they stand."""

    id: str
    status: EmailStatus
    message_id: str
    subject: str
    created_at: datetime
    due_at: datetime
    recipients: dict[str, RecipientStatus]
    events: tuple[StoredEvent, ...]
    attempts: int = 0
    problem: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message that the SMTP server took for these recipients."""

    message_id: str
    subject: str
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a caller was told at `at`: the id of an email, or an error's code; nothing when it died before.

    `subject` is what was asked to be sent, or what an update asked for. `in_doubt` came with the error. A step may be
    answered several times: what the database could not serve is asked again.
    """

    step: int
    do: str
    at: datetime
    id: str | None = None
    error: str | None = None
    in_doubt: bool = False
    was_answered: bool = True
    subject: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuse:
    """Why emails may be in doubt: something happened between `since` and `until` to at most `most` of them.

    `codes` are those of the events it can cause. `message_id` when it can only be this one message.
    """

    why: str
    codes: frozenset[str]
    since: datetime
    until: datetime
    most: int
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended that was told to stop: its status, and the seconds that took."""

    name: str
    status: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything known when a trial is over, at `now` by the true clock.

    `clock_slack_seconds` is how far the clocks of two processes may lie apart, `slack_seconds` how much earlier than
    its event a time may have been read.
    """

    now: datetime
    emails: tuple[StoredEmail, ...]
    taken: tuple[Taken, ...]
    answers: tuple[Answer, ...] = ()
    excuses: tuple[Excuse, ...] = ()
    exits: tuple[Exit, ...] = ()
    max_retries: int = 3
    rate_limit: int | None = None
    resends: bool = False
    """Whether whoever runs this prefers a duplicate to a doubt."""
    clock_slack_seconds: float = 0.0
    slack_seconds: float = 0.0
    blameless: frozenset[str] = frozenset()
    """Ids of emails to which nothing happened that could make them fail: no reply, no lost line, no short life."""
    unsettled: str = ""
    """What was still due or under way when the time to end it was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A broken promise: which, and what shows it."""

    promise: str
    what: str
    emails: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.promise}: {self.what}"
