"""The emails that wait to be sent, and who is at work on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol
from uuid import UUID

from outspool.domain.cap import FullQuota
from outspool.domain.email import Email


class Expiry(Enum):
    """What may end because its time is over. A clock that was just set says little about that."""

    ALL = "all"
    TRIED = "tried"
    """Only what somebody has tried to send; the rest is sent, late."""
    HELD = "held"
    """Nothing: what seems to be out of time stays where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A hold on one batch of claimed emails: they carry the `token`, and are its own until `until` (UTC).

    A token is never used for two claims: a coroutine that slept through its lease can then not mistake a later
    claim of the same email, by its own process, for its own.
    """

    token: UUID
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many `recipients` the daily quota still lets pass (None: there is no quota); `full` if none."""

    recipients: int | None = None
    full: FullQuota | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHeartbeat:
    """A dispatcher that reported itself: who it is and when it was last alive (UTC).

    `skew` is how far its clock was ahead of the database's, None where both are one.
    """

    name: str
    seen_at: datetime
    skew: timedelta | None = None


class Queue(Protocol):
    """The waiting part of the outbox, as the dispatchers of all processes share it. Raises like `EmailStore`."""

    async def claim_due(
        self, lease: Lease, *, now: datetime, limit: int, deferred_too: bool, expiry: Expiry = Expiry.ALL
    ) -> Sequence[Email]:
        """Take up to `limit` due emails for `lease`, as their priority and due time give them a turn (`Priority`).

        They are ``sending`` then.

        With `deferred_too` false (the account rests) ``deferred`` emails stay where they are until they expire.
        No email is ever given to two leases. What is out of time is taken too, whosever it is, as `expiry` allows; with
        ``TRIED`` it is this outbox's own alone.
        """
        ...

    async def mark(self, email_id: UUID, lease: Lease, *, at: datetime, recipients: int) -> bool:
        """Commit that the message is about to go on the wire, and hold it until `lease.until` at least.

        False, and no change, when the lease no longer holds it.

        Raises `QuotaReached`, and marks nothing, when the account's daily quota has no room for so many `recipients`.
        """
        ...

    async def room(self, *, now: datetime) -> Room:
        """Return how much the account's daily quota leaves, over all processes."""
        ...

    async def heartbeat(
        self, leases: Collection[UUID], *, until: datetime, worker: str, at: datetime
    ) -> timedelta | None:
        """Extend what these leases hold to `until`, and note that `worker` lives.

        Return how far the clock that gave `at` is ahead of the database's, None where both are one.
        """
        ...

    async def retire(self, worker: str) -> None:
        """Note that `worker` has ended."""
        ...

    async def rescue(self, *, now: datetime, resend_marked: bool) -> int:
        """Free what dead workers hold: the unmarked is ``queued``, the marked ``unknown`` (or queued too)."""
        ...

    async def next_due(self, *, after: datetime, deferred_too: bool) -> datetime | None:
        """Return the earliest due time later than `after` of an email that could be claimed then, or None."""
        ...

    async def first_turn(self, *, now: datetime) -> datetime | None:
        """Return when the first of what is due and waits takes its turn (due time and `Priority`), None for nothing."""
        ...

    async def last_trace(self) -> datetime | None:
        """Return the last time that an email was accepted or a worker showed itself, None when there is none."""
        ...

    async def clamp(self, *, now: datetime, furthest: datetime) -> int:
        """Make due now what a wrong clock put off beyond `furthest`, though nobody scheduled it; return how many.

        That is what is ``queued`` and not due, and what is ``deferred`` for longer than any deferral.
        """
        ...

    async def workers(self, *, since: datetime) -> Sequence[WorkerHeartbeat]:
        """Return the dispatchers seen alive since then."""
        ...
