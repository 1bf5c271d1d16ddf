"""The emails and series that are stored, and the news of their changes."""

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


class EmailStore(Protocol):
    """The outbox on disk: the only truth about every email.

    Each method takes a `Scope`: emails outside it are as if they did not exist. `add` and `add_all` take none, since a
    new email names its owner and identity itself.

    Each method is one transaction, or a read. Each raises `StoreUnavailable` when the database cannot be used; then
    nothing was changed, except where a method says otherwise.
    """

    async def add(self, email: Email, event: Event) -> Email:
        """Commit a new email and its first event; what is returned survives any crash.

        An email of the same owner, idempotency key and fingerprint is returned instead of a second being stored.
        Raises `IdempotencyConflict` when the owner's key stands for another fingerprint, and `RateLimited` when the
        identity had as many emails accepted lately, by all processes together, as it may.
        """
        ...

    async def add_all(self, requests: Sequence[tuple[Email, Event]]) -> Sequence[Email]:
        """Commit new emails at once, or none of them, like `add`; return what stands for each.

        Raises `IdempotencyConflict`, which says whose key it is, when one of them cannot be stored; `RateLimited` when
        there is no room for all, `InvalidArgument` when there never will be. Nothing is stored then.
        """
        ...

    async def get(self, email_id: UUID, scope: Scope) -> Email | None:
        """Return the email with its events, oldest first, or None."""
        ...

    async def version(self, email_id: UUID, scope: Scope) -> int | None:
        """Return the email's version, None when there is no such email."""
        ...

    async def get_all(self, ids: Sequence[UUID], scope: Scope) -> Sequence[Email]:
        """Return those of these emails that there are, in this order, without events."""
        ...

    async def find_settled(self, ids: Collection[UUID], scope: Scope) -> frozenset[UUID]:
        """Return which of these emails are neither ``queued`` nor ``sending`` now."""
        ...

    async def by_key(self, idempotency_key: str, scope: Scope) -> Email | None:
        """Return the email that the owner of `scope` had accepted under this key, without events, or None."""
        ...

    async def find(self, search: Search, scope: Scope) -> Page:
        """Return one page of emails, newest first, by keyset: new mail never shifts a later page."""
        ...

    async def counts(self, scope: Scope) -> Mapping[EmailStatus, int]:
        """Return how many emails stand in each status, `MOST_COUNTED` meaning so many or more; no zeros."""
        ...

    async def revise(self, email: Email, event: Event, scope: Scope) -> bool:
        """Replace content, recipients and schedule of a waiting email.

        It happens only when the stored version is `email.version` and its status is still a waiting one; otherwise
        False is returned and nothing changes.
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

        False, and no change, when the email is outside `scope`, not in one of the transition's sources, or not under
        `lease` or no longer at `version`, where these are given.
        """
        ...


class SeriesStore(Protocol):
    """The series of the outbox, as the dispatchers of all processes share them. Raises like `EmailStore`."""

    async def list_upcoming(self, scope: Scope, *, limit: int) -> Sequence[tuple[UUID, datetime]]:
        """Return the recurring series, each with the time of its next email (UTC), the soonest first."""
        ...

    async def advance(self, series: Series, email: Email, event: Event) -> bool:
        """Commit at once that `email` was made, with its first `event`, and where its `series` stands after it.

        It happens only when the series recurs and its stored version is `series.version`; otherwise False is returned
        and nothing changes. Of one time of a series there is never a second email. Raises `RateLimited`, and changes
        nothing, when there is no room for the email now.
        """
        ...

    async def reschedule(self, series: Series, event: Event) -> bool:
        """Commit that the next email of the series is made at its `due_at`; guarded like `advance`."""
        ...

    async def set_aside(self, series: Email, *, at: datetime) -> None:
        """Commit that an unreadable series makes no more emails, so that nobody comes upon it again."""
        ...

    async def halt(self, series: Series, event: Event) -> bool:
        """Commit that the series stands still, for its `problem`; guarded like `advance`."""
        ...


class Changes(Protocol):
    """News of the outbox, from this process and from others."""

    def watch(self, changed: Callable[[], None], *, due_only: bool = False) -> AbstractAsyncContextManager[None]:
        """Call `changed` while the block lasts, whenever an email changed in this or another process.

        With `due_only`, when something may have become due sooner than before. It may be called too often, and must
        be cheap. A notice can be missed: look for yourself now and then.
        """
        ...
