"""Makes the emails of series when they are due, each exactly once across all processes."""

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

_BATCH = 100
_RECALCULATION_LIMIT = 10_000

_TOLERANCE = timedelta(hours=1)
"""A series is recalculated only if its next time is off by more than this."""


_FRESH_SECONDS = 1.0
"""How long a look at the series stays valid; a busy dispatcher would ask a hundred times a second."""


class Occurrences:
    """Makes the due emails of one identity's series."""

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
        """Serve the series of `identity`, an address.

        Each email expires `expire_after` from the time it is made; `policy` must allow it.
        """
        self._scope = Scope(owner=None, identities=frozenset({identity}))
        self._store = store
        self._series = series
        self._policy = policy
        self._expire_after = expire_after
        self._new_id = new_id
        self._clock = clock
        self._checked_at: float | None = None
        self._next_due: datetime | None = None

    async def look(self) -> datetime | None:
        """Call `make_due` for now, or return its last answer if that is fresh and nothing is due."""
        now, elapsed = self._clock.now(), self._clock.elapsed()
        if self._checked_at is not None and elapsed < self._checked_at + _FRESH_SECONDS:
            recheck_at = now + timedelta(seconds=self._checked_at + _FRESH_SECONDS - elapsed)
            if self._next_due is None or now < self._next_due:
                return recheck_at if self._next_due is None else min(recheck_at, self._next_due)
        self._checked_at = elapsed
        self._next_due = await self.make_due(now=now)
        return self._next_due

    async def make_due(self, *, now: datetime) -> datetime | None:
        """Make the email of every due series; if several occurrences were missed, only the last.

        Returns when to look again, None when no series is waiting. A series whose email the policy refuses is paused
        with the reason; one beyond the hourly rate limit waits. Raises `StoreUnavailable`; what was made before stays.
        """
        seen: set[UUID] = set()
        while True:
            upcoming = await self._series.list_upcoming(self._scope, limit=_BATCH)
            due = [series_id for series_id, at in upcoming if at <= now and series_id not in seen]
            for series_id in due:
                seen.add(series_id)
                try:
                    await self._make(series_id, now)
                except RateLimited as limited:
                    return limited.retry_at
                except OutspoolError:
                    raise
                except Exception:
                    # A bug in one series must not stop the others, or other due emails.
                    logger.exception("no email could be made of series %s", series_id)
            if not due:
                return next((at for _, at in upcoming if at > now), None)

    async def recalculate(self, *, now: datetime) -> None:
        """Recalculate every series whose next time is later than its rule says, because a wrong clock advanced it."""
        for series_id, at in await self._series.list_upcoming(self._scope, limit=_RECALCULATION_LIMIT):
            if at > now + _TOLERANCE:
                await self._recalculate_one(series_id, now)
        self._checked_at = None

    async def _recalculate_one(self, series_id: UUID, now: datetime) -> None:
        series = await self._store.get(series_id, self._scope)
        if not isinstance(series, Series) or series.status is not EmailStatus.RECURRING:
            return
        # Use `now + _TOLERANCE`, so that an occurrence made just before the clock was set back is not made again.
        earliest, due_at = series.recurrence.next_after(now + _TOLERANCE), series.recurrence.next_after(now)
        if earliest is None or due_at is None or earliest >= series.due_at:
            return
        detail = f"It waited for {series.due_at:%Y-%m-%dT%H:%M:%SZ}, by a clock that was wrong."
        logger.warning("series %s is recalculated. %s", series.id, detail)
        rescheduled = replace(series, due_at=due_at, scheduled_at=due_at, date=due_at)
        await self._series.reschedule(
            rescheduled, Event(at=now, status=series.status, code="recalculated", detail=detail)
        )

    async def _make(self, series_id: UUID, now: datetime) -> None:
        series = await self._store.get(series_id, self._scope)
        if series is not None and series.unreadable:
            await self._series.set_aside(series, at=now)
            return
        if not isinstance(series, Series) or series.status is not EmailStatus.RECURRING or series.due_at > now:
            return  # another process made it
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
        advanced = advance_series(series, at, now=now)
        await self._series.advance(advanced, email, occurrence_event(series, at, now=now))

    async def _pause(self, series: Series, refusal: Refusal, now: datetime) -> None:
        logger.warning("series %s is paused: %s", series.id, refusal)
        problem = Problem(code=refusal.code, message=refusal.message, hint=refusal.hint)
        paused = replace(series, status=EmailStatus.PAUSED, scheduled_at=None, problem=problem)
        await self._series.halt(paused, Event(at=now, status=paused.status, code=problem.code, detail=problem.message))
