"""What the services need from the outside world, as Protocols. Adapters implement them; only `app` picks which."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from outspool.domain.delivery import Delivery
from outspool.domain.email import Email, Event
from outspool.domain.status import EmailStatus
from outspool.domain.transition import Transition
from outspool.errors import QuotaReached


class Clock(Protocol):
    """Tells the time, which a person or NTP may set at any moment, and how much time has passed, which nobody can."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...

    def elapsed(self) -> float:
        """Return the seconds since some fixed moment; they pass evenly, also while the machine sleeps."""
        ...


MOST_COUNTED = 1000
"""Nobody needs to know more exactly, and to count millions takes as long as it sounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What `EmailStore.find` looks for. None means "any". `limit` rows at most, newest first, after `before_id`."""

    status: EmailStatus | None = None
    recipient: str | None = None
    query: str | None = None
    tag: str | None = None
    series: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    limit: int = 20
    before_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of `find`: emails without events, `body` and `html`, newest first.

    `next_before` is the `before_id` of the next page, None when none follows.
    """

    emails: tuple[Email, ...]
    next_before: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A hold on one batch of claimed emails: they carry the `token`, and are its own until `until` (UTC).

    A token is never used for two claims: a coroutine that slept through its lease can then not mistake a later
    claim of the same email, by its own process, for its own.
    """

    token: UUID
    until: datetime


LONGEST_PAUSE = timedelta(hours=2)
"""No pause comes near it (`outspool.domain.retry.account_pause`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """How the SMTP account fares: `paused_until` (UTC) and why, after so many `failures` in a row."""

    paused_until: datetime | None = None
    failures: int = 0
    kind: str = ""
    message: str = ""
    hint: str = ""
    credential: str = ""
    """Hash of the login that was refused, when one was."""

    def is_paused(self, now: datetime) -> bool:
        """Whether nothing should be tried at `now`. What seems longer than any pause was set by a wrong clock."""
        return self.paused_until is not None and now < self.paused_until < now + LONGEST_PAUSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many `recipients` the daily quota still lets pass (None: there is no quota); `reached` if none."""

    recipients: int | None = None
    reached: QuotaReached | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSighting:
    """A dispatcher that reported itself: who it is and when it was last alive (UTC).

    `skew` is how far its clock was ahead of the database's, None where both are one.
    """

    name: str
    seen_at: datetime
    skew: timedelta | None = None


class SchemaState(StrEnum):
    """How a database's schema stands to this code's."""

    EMPTY = "empty"
    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"
    """Of a revision this code has never heard of: made by a newer outspool, or by another program."""
    UNVERSIONED = "unversioned"
    """There are tables of an outbox, and nothing says of which revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How a database answers: after `seconds` (None: there is none yet), with its `clock` (UTC; None: it has none)."""

    schema: SchemaState
    revision: str | None = None
    seconds: float | None = None
    clock: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How many emails are `due`, the oldest since `oldest_due`; how many wait `later`; how many are `in_doubt`.

    `elsewhere` counts those that wait for an outspool that sends as somebody else; the sandbox's do not count.
    """

    due: int
    oldest_due: datetime | None
    later: int
    in_doubt: int
    elsewhere: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """Whether files can be kept in a `folder`: `trouble` says in words why not; `free_bytes` are left."""

    folder: str
    free_bytes: int
    trouble: str = ""


class DatabaseProbe(Protocol):
    """Looks at a database and changes nothing. Raises like `EmailStore`."""

    @property
    def address(self) -> str:
        """What and where it is, for a person; no secret in it."""
        ...

    async def vitals(self) -> Vitals:
        """Return how it answers, be it empty, old or new."""
        ...

    async def backlog(self, *, now: datetime) -> Backlog:
        """Return what waits; the schema must be current."""
        ...


class EmailStore(Protocol):
    """The outbox on disk: the only truth about every email.

    Each method is one transaction, or a read. Each raises `StoreUnavailable` when the database cannot be used; then
    nothing was changed, except where a method says otherwise.
    """

    async def add(self, email: Email, event: Event) -> Email:
        """Commit a new email and its first event; what is returned survives any crash.

        An email with the same idempotency key and fingerprint is returned instead of a second being stored.
        Raises `IdempotencyConflict` when the key stands for another fingerprint, and `RateLimited` when the sender
        had as many emails accepted lately, by all processes together, as it may.
        """
        ...

    async def add_all(self, asked: Sequence[tuple[Email, Event]]) -> Sequence[Email]:
        """Commit new emails at once, or none of them, like `add`; return what stands for each.

        Raises `IdempotencyConflict`, which says whose key it is, when one of them cannot be stored; `RateLimited` when
        there is no room for all, `InvalidArgument` when there never will be. Nothing is stored then.
        """
        ...

    async def get(self, email_id: UUID) -> Email | None:
        """Return the email with its events, oldest first, or None."""
        ...

    async def version(self, email_id: UUID) -> int | None:
        """Return the email's version, None when there is no such email."""
        ...

    async def get_all(self, ids: Sequence[UUID]) -> Sequence[Email]:
        """Return those of these emails that there are, in this order, without events."""
        ...

    async def settled(self, ids: Collection[UUID]) -> frozenset[UUID]:
        """Return which of these emails are neither ``queued`` nor ``sending`` now."""
        ...

    async def by_key(self, idempotency_key: str) -> Email | None:
        """Return the email accepted under this key, without events, or None."""
        ...

    async def find(self, search: Search) -> Page:
        """Return one page of emails, newest first, by keyset: new mail never shifts a later page."""
        ...

    async def counts(self) -> Mapping[EmailStatus, int]:
        """Return how many emails stand in each status, `MOST_COUNTED` meaning so many or more; no zeros."""
        ...

    async def revise(self, email: Email, event: Event) -> bool:
        """Replace content, recipients and schedule of a waiting email.

        It happens only when the stored version is `email.version` and its status is still a waiting one; otherwise
        False is returned and nothing changes.
        """
        ...

    async def record(
        self, email_id: UUID, change: Transition, *, lease: UUID | None = None, version: int | None = None
    ) -> bool:
        """Apply a transition and add its event.

        False, and no change, when the email is not in one of the transition's sources, or not under `lease`, or no
        longer at `version`, where these are given.
        """
        ...


class SeriesStore(Protocol):
    """The series of the outbox, as the dispatchers of all processes share them. Raises like `EmailStore`."""

    async def upcoming(self, *, limit: int) -> Sequence[tuple[UUID, datetime]]:
        """Return which series go on, with the time of their next email (UTC), the soonest first."""
        ...

    async def advance(self, series: Email, email: Email, event: Event) -> bool:
        """Commit at once that `email` was made, with its first `event`, and where its `series` stands after it.

        It happens only when the series recurs and its stored version is `series.version`; otherwise False is returned
        and nothing changes. Of one time of a series there is never a second email. Raises `RateLimited`, and changes
        nothing, when there is no room for the email now.
        """
        ...

    async def halt(self, series: Email, event: Event) -> bool:
        """Commit that the series stands still, for its `problem`; guarded like `advance`."""
        ...


class Queue(Protocol):
    """The waiting part of the outbox, as the dispatchers of all processes share it. Raises like `EmailStore`."""

    async def claim_due(self, lease: Lease, *, now: datetime, limit: int, deferred_too: bool) -> Sequence[Email]:
        """Take up to `limit` due emails for `lease`, as their priority and due time give them a turn (`Priority`).

        They are ``sending`` then.

        With `deferred_too` false (the account rests) ``deferred`` emails stay where they are until they expire.
        No email is ever given to two leases.
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

    async def workers(self, *, since: datetime) -> Sequence[WorkerSighting]:
        """Return the dispatchers seen alive since then."""
        ...


class Account(Protocol):
    """How the SMTP account fares, as all processes see it. Raises like `EmailStore`."""

    async def state(self) -> AccountState:
        """Return how it fares."""
        ...

    async def swap(self, seen: AccountState, state: AccountState) -> bool:
        """Record how it fares, for all processes, unless that changed since it was `seen`; False then."""
        ...


class Changes(Protocol):
    """News of the outbox, from this process and from others."""

    def watch(self, changed: Callable[[], None], *, due_only: bool = False) -> AbstractAsyncContextManager[None]:
        """Call `changed` while the block lasts, whenever an email changed in this or another process.

        With `due_only`, when something may have become due sooner than before. It may be called too often, and must
        be cheap. A notice can be missed: look for yourself now and then.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """A message too large to hold: `size` octets of ASCII in CRLF-ended lines, in `chunks` that can be had once."""

    chunks: AsyncIterator[bytes]
    size: int


class Transport(Protocol):
    """Carries a composed message to the next server."""

    async def deliver(
        self,
        message: bytes | Stream,
        *,
        sender: str,
        recipients: Sequence[str],
        before_data: Callable[[], Awaitable[None]],
    ) -> Delivery:
        """Offer `message` for `recipients`, and return what became of each.

        `before_data` is awaited after at least one recipient was taken and before ``DATA``; if it raises, nothing
        is sent and its exception comes through; likewise what the chunks of a `Stream` raise. Raises `AccountTrouble`
        when the account, not the message, is at fault; nothing was sent then either.
        """
        ...

    async def close(self) -> None:
        """Say ``QUIT`` on idle connections and close them."""
        ...


class BlobStore(Protocol):
    """Files, each under its digest (SHA-256, lower-case hex): what is under a digest never changes, and is there once.

    Each method raises `BlobsUnavailable` when the place cannot be used now, and `ValueError` for what is no digest.
    Memory stays small, however large a file and however many at once.
    """

    async def put(self, digest: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """Commit a file of `size` bytes; once this returns it survives any crash. If it is there already, do nothing.

        Raises `AttachmentRefused` when `chunks` are other bytes than those announced: a file that somebody writes to.
        Whatever is raised, nothing is stored then.
        """
        ...

    def open(self, digest: str, size: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return the bytes, in chunks, from where nothing but this machine can fail.

        Raises `AttachmentLost` when the file is not there, or not of this `size`; the chunks raise it before the last
        of them when the bytes are other ones than were stored.
        """
        ...

    async def size(self, digest: str) -> int | None:
        """Return how large the file is, None when it is not there."""
        ...

    async def delete(self, digest: str) -> None:
        """Remove the file, if it is there."""
        ...

    async def check(self) -> None:
        """Write something, read it back and remove it; raise `BlobsUnavailable` that says what does not work."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class BlobLedger(Protocol):
    """Which files this outbox has stored or is about to, and until when they are kept without an email (UTC).

    Raises like `EmailStore`. A file is noted before it is stored, so that none is ever forgotten; one that is kept, or
    that an email has, is not removed, so that no email loses one.
    """

    async def note(self, sizes: Mapping[str, int], *, kept_until: datetime) -> None:
        """Commit that files of these digests and sizes (bytes) are kept until then at least.

        Raises `StoreUnavailable` when one of them is being removed at this very moment.
        """
        ...

    async def condemn(self, *, at: datetime, limit: int) -> Sequence[str]:
        """Commit that files no email has, and that are no longer kept at `at`, are being removed; return them.

        Remove them within the hour: what stays condemned for longer is given to the next who asks.
        """
        ...

    async def forget(self, digests: Collection[str]) -> None:
        """Commit that these condemned files are removed."""
        ...


class SourceFile(Protocol):
    """A file that is open for as long as somebody needs it."""

    @property
    def name(self) -> str:
        """What the caller calls it."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it has."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes, from the beginning each time.

        Raises `AttachmentRefused` when they are not `size` many, or cannot be read.
        """
        ...


class Files(Protocol):
    """The files of this machine that a caller may name."""

    def open(self, path: str) -> AbstractAsyncContextManager[SourceFile]:
        """Open one regular file; raise `AttachmentRefused` for anything else, and for what nobody may send."""
        ...


class TemplateSource(Protocol):
    """Where the files of templates are, by names such as ``report.html``. Both methods may read from a disk."""

    def names(self) -> Sequence[str]:
        """Return the files that make up templates, in the order of their names."""
        ...

    def read(self, name: str) -> str | None:
        """Return the text of a file, None when there is none of this name.

        Raises `TemplateError` when it is not to be read: unreadable, too large, or not text.
        """
        ...


class Alarm(Protocol):
    """Rings once, at a time."""

    def set(self, at: datetime | None) -> None:
        """Ring at `at` (UTC) instead of whatever was set before; None: do not ring."""
        ...
