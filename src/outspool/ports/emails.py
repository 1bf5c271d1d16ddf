"""The stores of emails and series, and notifications of their changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from outspool.domain.email import Email, Event
from outspool.domain.principal import Scope
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus
from outspool.domain.transition import Transition

MOST_COUNTED = 1000
"""Counting stops here, because counting millions is slow and nobody needs the exact number."""

SHORTEST_ENDING = 4
"""Digits of an id that are enough to look for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Filters of `EmailStore.find`; None means any. At most `limit` rows, newest first, after `before_id`."""

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

    `next_before` is the `before_id` of the next page; None if there is none.
    """

    emails: tuple[Email, ...]
    next_before: UUID | None


class EmailStore(Protocol):
    """The stored emails: the only truth about every email.

    Each method takes a `Scope`: emails outside it behave as if they did not exist. `add` and `add_all` take none,
    because a new email names its owner and identity itself.

    Each method is one transaction. Each raises `StoreUnavailable` if the database cannot be used; then nothing was
    changed, unless the method says otherwise.
    """

    async def add(self, email: Email, event: Event) -> Email:
        """Commit a new email and its first event; when this returns, it survives any crash.

        If the owner already has an email with this idempotency key and fingerprint, that one is returned. Raises
        `IdempotencyConflict` if the owner's key belongs to another fingerprint, and `RateLimited` if all processes
        together have reached the identity's rate limit.
        """
        ...

    async def add_all(self, requests: Sequence[tuple[Email, Event]]) -> Sequence[Email]:
        """Commit all new emails or none, like `add`; return the stored emails.

        Raises `IdempotencyConflict`, naming the email, `RateLimited` if there is no room for all, and `InvalidArgument`
        if there never will be; nothing is stored then.
        """
        ...

    async def get(self, email_id: UUID, scope: Scope) -> Email | None:
        """Return the email with its events, oldest first, or None."""
        ...

    async def version(self, email_id: UUID, scope: Scope) -> int | None:
        """Return the email's version; None if there is no such email."""
        ...

    async def get_all(self, ids: Sequence[UUID], scope: Scope) -> Sequence[Email]:
        """Return the existing ones of these emails, in this order, without events."""
        ...

    async def find_by_ending(self, ending: str, scope: Scope, *, limit: int) -> Sequence[Email]:
        """Return at most `limit` emails whose id ends in `ending`, newest first, without events, `body` and `html`.

        `ending` is `SHORTEST_ENDING` to 32 hexadecimal digits in lower case. An id ends in random digits, so its end
        tells emails of one day apart, and its beginning does not.
        """
        ...

    async def find_settled(self, ids: Collection[UUID], scope: Scope) -> frozenset[UUID]:
        """Return those of these emails that are neither ``queued`` nor ``sending``."""
        ...

    async def by_key(self, idempotency_key: str, scope: Scope) -> Email | None:
        """Return the email with this key of the scope's owner, without events, or None."""
        ...

    async def find(self, search: Search, scope: Scope) -> Page:
        """Return one page of emails, newest first, by keyset: new emails never shift a later page."""
        ...

    async def counts(self, scope: Scope) -> Mapping[EmailStatus, int]:
        """Return the number of emails in each status without zeros; `MOST_COUNTED` means that many or more."""
        ...

    async def revise(self, email: Email, event: Event, scope: Scope) -> bool:
        """Replace content, recipients and schedule of a waiting email.

        False, and no change, unless the stored version is `email.version` and the status is a waiting one.
        """
        ...

    async def record(
        self,
        email_id: UUID,
        change: Transition,
        scope: Scope,
        *,
        lease: UUID | None = None,
        version: int | None = None,
    ) -> bool:
        """Apply a transition and add its event.

        False, and no change, if the email is outside `scope`, not in one of the transition's sources, or not under
        `lease` or at `version`, where these are given.
        """
        ...


class SeriesStore(Protocol):
    """The series, shared by the dispatchers of all processes. Raises like `EmailStore`."""

    async def list_upcoming(self, scope: Scope, *, limit: int) -> Sequence[tuple[UUID, datetime]]:
        """Return recurring series with the time of their next email (UTC), the soonest first."""
        ...

    async def advance(self, series: Series, email: Email, event: Event) -> bool:
        """Commit in one transaction the new `email`, its first `event`, and the advanced `series`.

        False, and no change, unless the series recurs and its stored version is `series.version`. A series never has
        two emails for one time. Raises `RateLimited`, and changes nothing, at the rate limit.
        """
        ...

    async def reschedule(self, series: Series, event: Event) -> bool:
        """Set the time of the series' next email to its `due_at`; guarded like `advance`."""
        ...

    async def set_aside(self, series: Email, *, at: datetime) -> None:
        """Set an unreadable series aside, so that it makes no more emails and nobody reads it again."""
        ...

    async def halt(self, series: Series, event: Event) -> bool:
        """Pause the series because of its `problem`; guarded like `advance`."""
        ...


class Changes(Protocol):
    """Notifications of changed emails, from this and other processes."""

    def watch(self, changed: Callable[[], None], *, due_only: bool = False) -> AbstractAsyncContextManager[None]:
        """Call `changed` within the block whenever an email changed in this or another process.

        With `due_only`, only if an email may be due sooner than before. It may be called too often, and must be cheap.
        A notification can be lost, so poll as well.
        """
        ...
