"""Makes due emails of series, claims due emails, and delivers them as fast as the connections allow."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from outspool.domain.cap import FullQuota
from outspool.domain.email import Email
from outspool.errors import OutspoolError
from outspool.ports.clock import Alarm, Clock
from outspool.ports.queue import Expiry, Lease, Queue
from outspool.services.delivery.breaker import Breaker, Probe
from outspool.services.delivery.clock_repair import ClockRepair
from outspool.services.delivery.clock_watch import ClockWatch
from outspool.services.delivery.delivery_agent import DeliveryAgent
from outspool.services.delivery.lease_keeper import LeaseKeeper
from outspool.services.delivery.occurrences import Occurrences
from outspool.services.delivery.timings import Timings

logger = logging.getLogger(__name__)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_READ_AHEAD = 3
"""Emails claimed per connection: one in delivery, and enough that no connection waits for the next claim.

No other process can send a claimed email and nobody can cancel it, so this stays small.
"""

_LOOK_FOR_URGENT_SECONDS = 1.0
"""At most this often a busy dispatcher looks for more urgent emails; every accepted email wakes it."""


class Dispatcher:
    """One process's worker on the shared queue."""

    def __init__(
        self,
        queue: Queue,
        agent: DeliveryAgent,
        breaker: Breaker,
        occurrences: Occurrences,
        *,
        name: str,
        is_temporary: bool,
        batch: int,
        resend_doubtful: bool,
        watch: ClockWatch,
        clock: Clock,
        timings: Timings,
    ) -> None:
        """`name` is what `doctor` calls this worker; it holds at most `batch` claimed emails.

        `is_temporary`: it ends with the app that started it.
        """
        self._queue = queue
        self._agent = agent
        self._breaker = breaker
        self._occurrences = occurrences
        self._watch = watch
        self._repair = ClockRepair(queue, occurrences, watch, clock=clock)
        self._clock = clock
        self._timings = timings
        self._batch = batch
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._trial: asyncio.Task[None] | None = None
        self._more_is_due = False
        self._is_stopping = False
        self._outage = ""
        self._looked_for_urgent_at = -math.inf
        self.keeper = LeaseKeeper(
            queue,
            name=name,
            is_temporary=is_temporary,
            resend_doubtful=resend_doubtful,
            freed=self.wake,
            watch=watch,
            clock=clock,
            timings=timings,
        )

    def wake(self) -> None:
        """Look at the queue now: something may be due."""
        self._woken.set()

    async def poll(self) -> None:
        """Wake, in case a notification was lost or the clock was set."""
        self.wake()

    async def run(self, alarm: Alarm) -> None:
        """Dispatch until `stop`; set `alarm` to the next due time. Survives database outages."""
        await self._begin_well()
        while not self._is_stopping:
            self._woken.clear()
            try:
                alarm.set(await self._look())
            except Exception as error:  # noqa: BLE001 - no bug may stop the worker
                self._note_outage(error)
                await asyncio.sleep(self._timings.store_retry_seconds)
                continue
            self._note_outage(None)
            await self._woken.wait()

    async def _begin_well(self) -> None:
        """Send a heartbeat, free the emails of dead workers, and allow a probe if a paused account may work."""
        try:
            self._watch.begin(await self._queue.last_trace())
        except Exception as error:  # noqa: BLE001 - start even if the database is unavailable
            self._note_outage(error)
        await self.keeper.pulse()
        try:
            await self._breaker.allow_probe()
        except Exception as error:  # noqa: BLE001 - start even if the database is unavailable
            self._note_outage(error)

    def _note_outage(self, error: Exception | None) -> None:
        """Log when an outage starts and ends, not every failed attempt."""
        before, self._outage = self._outage, "" if error is None else str(error) or repr(error)
        if self._outage == before:
            return
        if error is None:
            logger.warning("Dispatching goes on.")
        elif isinstance(error, OutspoolError):
            logger.warning("%s Nothing is sent meanwhile.", error)
        else:
            logger.error("Dispatching failed unexpectedly; it is tried again.", exc_info=error)

    async def _look(self) -> datetime | None:
        """Make the due emails of series and start due deliveries; return when to look again."""
        await self._repair.look()
        recurs = None if self._watch.expiry() is Expiry.HELD else await self._occurrences.look()
        upcoming = await self._dispatch_due()
        return min((at for at in (recurs, upcoming) if at), default=None)

    async def _dispatch_due(self) -> datetime | None:
        """Claim and start as many due emails as there is room for; return when to look again."""
        room = self._claim_limit() - len(self._tasks)
        if self._is_stopping:
            return None
        if room <= 0:
            return await self._make_way()
        state = await self._breaker.refresh()
        now = self._clock.now()
        quota = await self._queue.room(now=now)
        is_paused = state.is_paused(now)
        if is_paused and self._trial is not None and not self._trial.done():
            self._more_is_due = True  # the end of the trial wakes the loop; whoever waits is told what came of it
            return None
        if state.failures and not is_paused and quota.full is None:
            return await self._try_account(now)
        resting = is_paused or quota.full is not None
        limit = min(room, quota.recipients or room)
        emails, expiry, lease = await self._claim(limit, now, deferred_too=not resting)
        self._begin(emails, lease, expiry=expiry, full=quota.full)
        self._more_is_due = len(emails) == limit
        if self._more_is_due:
            return None  # the next delivery to finish wakes the loop
        upcoming = await self._queue.next_due(after=now, deferred_too=not resting)
        resumes = state.paused_until if is_paused else None
        has_room = quota.full.until if quota.full is not None else None
        return min((at for at in (upcoming, resumes, has_room) if at), default=None)

    def _claim_limit(self) -> int:
        """Return how many emails to hold: it follows from how many may be delivered at a time, and limits nothing else.

        Of what is claimed the breaker's limiter alone decides what goes, and when.
        """
        return min(self._batch, self._breaker.limiter.limit * _READ_AHEAD)

    async def _make_way(self) -> datetime | None:
        """Hand back waiting emails when a more urgent one is due; return when to look again.

        Without this, an urgent email waits behind everything already claimed, which takes long on a slow server.
        """
        if not self._breaker.limiter.waiting:
            return None
        elapsed = self._clock.elapsed()
        now = self._clock.now()
        if elapsed - self._looked_for_urgent_at < _LOOK_FOR_URGENT_SECONDS:
            return now + timedelta(seconds=_LOOK_FOR_URGENT_SECONDS)
        self._looked_for_urgent_at = elapsed
        first = await self._queue.first_turn(now=now)
        if first is not None and self._breaker.limiter.send_away(later_than=first.timestamp()):
            self._more_is_due = True  # the first hand-back wakes the loop
        return None

    async def _try_account(self, now: datetime) -> datetime | None:
        """Probe the account with one due email after its pause, unless another process is probing it.

        While all our connections still hang since before the pause another process may; we look again by `poll`.
        """
        if self._breaker.limiter.is_full:
            return None
        due = await self._queue.next_due(after=_LONG_AGO, deferred_too=True)
        if due is None or due > now:
            return due
        probe = await self._breaker.take_probe()
        if probe is not None:
            emails, expiry, lease = await self._claim(1, now, deferred_too=True)
            if emails:
                self._begin(emails, lease, expiry=expiry, probe=probe)
            else:
                await probe.conclude()
        return self._breaker.state.paused_until

    async def _claim(self, limit: int, now: datetime, *, deferred_too: bool) -> tuple[Sequence[Email], Expiry, Lease]:
        lease = self.keeper.new()
        expiry = self._watch.expiry()
        claimed = await self._queue.claim_due(lease, now=now, limit=limit, deferred_too=deferred_too, expiry=expiry)
        return claimed, expiry, lease

    def _begin(
        self,
        emails: Sequence[Email],
        lease: Lease,
        *,
        expiry: Expiry,
        probe: Probe | None = None,
        full: FullQuota | None = None,
    ) -> None:
        for email in emails:
            self.keeper.hold(lease)
            carrying = self._deliver_one(email, lease, expiry=expiry, probe=probe, full=full)
            task = asyncio.create_task(carrying, name=f"email-{email.id}")
            self._trial = task if probe is not None else self._trial
            self._tasks.add(task)
            task.add_done_callback(self._finish)

    async def _deliver_one(
        self, email: Email, lease: Lease, *, expiry: Expiry, probe: Probe | None, full: FullQuota | None
    ) -> None:
        """Deliver one email when it gets a slot; hand it back if stopped before. A probe does not wait for a slot."""
        limiter = self._breaker.limiter
        turn = None
        try:
            if probe is None:
                turn = await limiter.acquire((email.due_at + email.content.priority.delay).timestamp())
            else:
                turn = limiter.acquire_for_probe()
            if self._is_stopping:
                await self._agent.hand_back(email, lease, "outspool was stopped.")
            elif turn is not None:
                await self._agent.deliver_one(email, lease, expiry=expiry, probe=probe, full=full)
            elif probe is not None:
                await self._agent.hand_back(email, lease, "Every connection was still in use.")
                await probe.conclude()
            else:
                await self._agent.hand_back(email, lease, "It gave way to what is more urgent.")
                self.wake()
        finally:
            if turn is not None:
                limiter.release(turn)
            self.keeper.let_go(lease)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a delivery ended unexpectedly", exc_info=error)
        # Claim again only when half are done: one claim per finished email would cost more than the deliveries.
        if self._more_is_due and len(self._tasks) <= self._claim_limit() // 2:
            self.wake()

    async def stop(self) -> None:
        """Stop claiming, let running deliveries finish within the grace period, hand back the others."""
        self._is_stopping = True
        self._breaker.limiter.close()
        self.wake()
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=self._timings.grace_seconds)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        await self.keeper.retire()
