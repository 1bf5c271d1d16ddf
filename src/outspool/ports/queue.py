"""The queue of waiting emails, shared by all workers."""

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
    """Which emails may expire. Just after the clock was set, its time is not trusted."""

    ALL = "all"
    TRIED = "tried"
    """Only emails that were attempted; the others are sent, late."""
    HELD = "held"
    """None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claim on a batch of emails: they carry the `token` and belong to the claimer until `until` (UTC).

    A token is never reused, so a coroutine that slept through its lease cannot mistake a later claim by its own process
    for its own.
    """

    token: UUID
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Recipients left in the daily quota (None: no quota); `full` if there are none."""

    recipients: int | None = None
    full: FullQuota | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHeartbeat:
    """The last heartbeat of a worker (UTC).

    `skew` is how far its clock was ahead of the database's; None on SQLite. `identity` is the address whose emails it
    sends; empty if its version did not say. `is_temporary`: it ends with the app that started it.
    """

    name: str
    seen_at: datetime
    skew: timedelta | None = None
    identity: str = ""
    is_temporary: bool = False


class Queue(Protocol):
    """The waiting emails, shared by the dispatchers of all processes. Raises like `EmailStore`."""

    async def claim_due(
        self, lease: Lease, *, now: datetime, limit: int, deferred_too: bool, expiry: Expiry = Expiry.ALL
    ) -> Sequence[Email]:
        """Claim up to `limit` due emails for `lease`, by priority and due time; they become ``sending``.

        With `deferred_too` false (the account is paused), ``deferred`` emails are claimed only when they have expired.
        No email is ever under two leases. Expired emails are claimed as `expiry` allows, whatever their identity; with
        ``TRIED`` only those of this identity.
        """
        ...

    async def mark(self, email_id: UUID, lease: Lease, *, at: datetime, recipients: int) -> bool:
        """Commit that the message is about to be sent, and renew its lease to `lease.until`.

        False, and no change, if the lease no longer holds it. Raises `QuotaReached`, and marks nothing, if the daily
        quota has no room for `recipients`.
        """
        ...

    async def room(self, *, now: datetime) -> Room:
        """Return what is left of the account's daily quota, over all processes."""
        ...

    async def heartbeat(
        self, leases: Collection[UUID], *, until: datetime, worker: str, at: datetime, is_temporary: bool = False
    ) -> timedelta | None:
        """Extend these leases to `until`, and record the heartbeat of `worker`; see `WorkerHeartbeat`.

        Return how far the clock that gave `at` is ahead of the database's; None on SQLite.
        """
        ...

    async def retire(self, worker: str) -> None:
        """Delete the heartbeat of `worker`."""
        ...

    async def rescue(self, *, now: datetime, resend_marked: bool) -> int:
        """Free emails of dead workers: unmarked ones become ``queued``, marked ones ``unknown`` (or queued too)."""
        ...

    async def next_due(self, *, after: datetime, deferred_too: bool) -> datetime | None:
        """Return the earliest due time after `after` of a claimable email, or None."""
        ...

    async def first_turn(self, *, now: datetime) -> datetime | None:
        """Return the turn (due time and `Priority`) of the first due email; None if none is due."""
        ...

    async def last_trace(self) -> datetime | None:
        """Return when an email was last accepted or a worker last sent a heartbeat, or None."""
        ...

    async def clamp(self, *, now: datetime, furthest: datetime) -> int:
        """Make emails due now that a wrong clock deferred beyond `furthest`; return their number.

        These are ``queued`` emails that are not due, and ``deferred`` ones later than any deferral.
        """
        ...

    async def workers(self, *, since: datetime) -> Sequence[WorkerHeartbeat]:
        """Return the workers with a heartbeat since then."""
        ...
