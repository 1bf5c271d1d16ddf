"""Makes the emails of series as their times come, each once, over all processes that share the database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from outspool.domain.email import Event, Problem
from outspool.domain.policy import Policy
from outspool.domain.principal import Scope
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus
from outspool.errors import OutspoolError, RateLimited, Refusal
from outspool.ports.clock import Clock
from outspool.ports.emails import EmailStore, SeriesStore
from outspool.services.acceptance.series import advance_series, make_occurrence, occurrence_event

logger = logging.getLogger(__name__)

_TOGETHER = 100
_MOST = 10_000

_OFF = timedelta(hours=1)
"""How far a clock may be set back without any series being computed anew."""


_FRESH_SECONDS = 1.0
"""A busy dispatcher looks a hundred times a second, and series do not change so often."""


class Occurrences:
    """What a dispatcher asks for beside what is due."""

    def __init__(
        self,
        store: EmailStore,
        series: SeriesStore,
        *,
        identity: str,
        policy: Policy,
        expire_after: timedelta,
        new_id: Callable[[datetime], UUID],
        clock: Clock,
    ) -> None:
        """Make the emails of the series of `identity`, an address.

        An email may take `expire_after` from when it is made to be sent; `policy` must allow each.
        """
        self._scope = Scope(owner=None, identities=frozenset({identity}))
        self._store = store
        self._series = series
        self._policy = policy
        self._expire_after = expire_after
        self._new_id = new_id
        self._clock = clock
        self._looked_at: float | None = None
        self._next: datetime | None = None

    async def look(self) -> datetime | None:
        """Do as `make_due`, now; with what was found a moment ago, as long as that says that nothing is due."""
        now, elapsed = self._clock.now(), self._clock.elapsed()
        if self._looked_at is not None and elapsed < self._looked_at + _FRESH_SECONDS:
            stale = now + timedelta(seconds=self._looked_at + _FRESH_SECONDS - elapsed)
            if self._next is None or now < self._next:
                return stale if self._next is None else min(stale, self._next)
        self._looked_at = elapsed
        self._next = await self.make_due(now=now)
        return self._next

    async def make_due(self, *, now: datetime) -> datetime | None:
        """Make the email of every series whose time has come, the last one alone of several that were missed.

        Returns when to look again, None when no series waits. One that may not be sent pauses its series and says
        why; what the hourly cap has no room for waits for it. Raises `StoreUnavailable`; what was made stays made.
        """
        seen: set[UUID] = set()
        while True:
            upcoming = await self._series.list_upcoming(self._scope, limit=_TOGETHER)
            due = [series_id for series_id, at in upcoming if at <= now and series_id not in seen]
            for series_id in due:
                seen.add(series_id)
                try:
                    await self._make(series_id, now)
                except RateLimited as reached:
                    return reached.retry_at
                except OutspoolError:
                    raise
                except Exception:
                    # A fault of ours in one series must not keep the others, nor what is due beside them.
                    logger.exception("no email could be made of series %s", series_id)
            if not due:
                return next((at for _, at in upcoming if at > now), None)

    async def recalculate(self, *, now: datetime) -> None:
        """Bring forward every series that waits for longer than its rule says: a wrong clock had moved it on."""
        for series_id, at in await self._series.list_upcoming(self._scope, limit=_MOST):
            if at > now + _OFF:
                await self._bring_forward(series_id, now)
        self._looked_at = None

    async def _bring_forward(self, series_id: UUID, now: datetime) -> None:
        series = await self._store.get(series_id, self._scope)
        if not isinstance(series, Series) or series.status is not EmailStatus.RECURRING:
            return
        # What was made a moment ago, by a clock that was set back since, is no reason to make it again.
        soonest, due_at = series.recurrence.next_after(now + _OFF), series.recurrence.next_after(now)
        if soonest is None or due_at is None or soonest >= series.due_at:
            return
        waited = f"It waited for {series.due_at:%Y-%m-%dT%H:%M:%SZ}, by a clock that was wrong."
        logger.warning("series %s is recalculated. %s", series.id, waited)
        earlier = replace(series, due_at=due_at, scheduled_at=due_at, date=due_at)
        await self._series.reschedule(earlier, Event(at=now, status=series.status, code="recalculated", detail=waited))

    async def _make(self, series_id: UUID, now: datetime) -> None:
        series = await self._store.get(series_id, self._scope)
        if series is not None and series.unreadable:
            await self._series.set_aside(series, at=now)
            return
        if not isinstance(series, Series) or series.status is not EmailStatus.RECURRING or series.due_at > now:
            return  # another process was here
        try:
            await self._advance(series, now)
        except RateLimited:
            raise
        except Refusal as refusal:
            await self._pause(series, refusal, now)

    async def _advance(self, series: Series, now: datetime) -> None:
        self._policy.check_sender(series.content.sender)
        self._policy.check_recipients([mailbox for _, mailbox in series.content.list_recipients()])
        at = series.recurrence.latest_until(series.due_at, now=now)
        email = make_occurrence(series, at, now=now, email_id=self._new_id(now), expire_after=self._expire_after)
        after = advance_series(series, at, now=now)
        await self._series.advance(after, email, occurrence_event(series, at, now=now))

    async def _pause(self, series: Series, why: Refusal, now: datetime) -> None:
        logger.warning("series %s is paused: %s", series.id, why)
        problem = Problem(code=why.code, message=why.message, hint=why.hint)
        paused = replace(series, status=EmailStatus.PAUSED, scheduled_at=None, problem=problem)
        await self._series.halt(paused, Event(at=now, status=paused.status, code=problem.code, detail=problem.message))
