"""Claims what is due and has it delivered, as fast as the connections allow, in priority order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from outspool.domain.email import Email
from outspool.errors import OutspoolError, QuotaReached
from outspool.ports import Alarm, Clock, Lease, Queue
from outspool.services.breaker import Breaker
from outspool.services.delivery_agent import DeliveryAgent
from outspool.services.pace import Pace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`batch`: most emails claimed at a time; `connections`: most delivered at a time."""

    batch: int = 50
    connections: int = 4


class Dispatcher:
    """One process's worker on the shared queue."""

    def __init__(
        self,
        queue: Queue,
        agent: DeliveryAgent,
        breaker: Breaker,
        *,
        name: str,
        limits: Limits,
        resend_doubtful: bool,
        clock: Clock,
        pace: Pace,
    ) -> None:
        """`name` is what `doctor` calls this worker."""
        self._queue = queue
        self._agent = agent
        self._breaker = breaker
        self._name = name
        self._limits = limits
        self._resend_doubtful = resend_doubtful
        self._clock = clock
        self._pace = pace
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(limits.connections)
        self._tasks: set[asyncio.Task[None]] = set()
        self._leases: Counter[UUID] = Counter()
        self._more_is_due = False
        self._stopping = asyncio.Event()
        self._outage = ""

    def wake(self) -> None:
        """Look at the queue now: something may have become due."""
        self._woken.set()

    async def poll(self) -> None:
        """Wake, should a notice have gone missing."""
        self.wake()

    async def run(self, alarm: Alarm) -> None:
        """Dispatch until `stop`; `alarm` is set to when the next email comes due. Outlives every outage."""
        await self._begin_well()
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                alarm.set(await self._dispatch_due())
            except Exception as error:  # noqa: BLE001 - no fault of ours may end the worker
                self._note_outage(error)
                await asyncio.sleep(self._pace.store_retry_seconds)
                continue
            self._note_outage(None)
            await self._woken.wait()

    async def _begin_well(self) -> None:
        """Show that we live, free what died since, and give a resting account a chance if it may be mended."""
        await self.beat()
        await self.rescue()
        try:
            await self._breaker.allow_probe()
        except Exception as error:  # noqa: BLE001 - a start amid trouble is a start
            self._note_outage(error)

    def _note_outage(self, error: Exception | None) -> None:
        """Log the beginning and the end of an outage, not each second of it."""
        if error is None and self._outage:
            logger.warning("The database is back; sending goes on.")
        elif isinstance(error, OutspoolError) and str(error) != self._outage:
            logger.warning("%s Nothing is sent meanwhile.", error)
        elif error is not None and not isinstance(error, OutspoolError):
            logger.error("Dispatching failed unexpectedly; it is tried again.", exc_info=error)
        self._outage = str(error) if error else ""

    async def _dispatch_due(self) -> datetime | None:
        """Claim and begin what is due and fits; return when to look again."""
        room = self._limits.batch - len(self._tasks)
        if room <= 0 or self._stopping.is_set():
            return None
        state = await self._breaker.refresh()
        now = self._clock.now()
        quota = await self._queue.room(now=now)
        resting = state.is_paused(now) or quota.reached is not None
        probing = state.failures > 0 and not resting
        limit = 1 if probing else min(room, quota.recipients or room)
        lease = Lease(token=uuid4(), until=now + self._pace.lease)
        emails = await self._queue.claim_due(lease, now=now, limit=limit, deferred_too=not resting)
        if probing and emails and not await self._breaker.take_probe():
            await self._breaker.refresh()  # another process probes: these wait for what it finds
            probing = False
        self._begin(emails, lease, probing=probing, full=quota.reached)
        self._more_is_due = len(emails) == limit
        upcoming = await self._queue.next_due(after=now, deferred_too=not resting)
        resumes = state.paused_until if state.is_paused(now) else None
        has_room = quota.reached.until if quota.reached is not None else None
        return min((at for at in (upcoming, resumes, has_room) if at), default=None)

    def _begin(self, emails: Sequence[Email], lease: Lease, *, probing: bool, full: QuotaReached | None) -> None:
        for email in emails:
            self._leases[lease.token] += 1
            task = asyncio.create_task(self._carry(email, lease, probing=probing, full=full), name=f"email-{email.id}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _carry(self, email: Email, lease: Lease, *, probing: bool, full: QuotaReached | None) -> None:
        try:
            if await self._has_slot():
                try:
                    await self._agent.carry(email, lease, probing=probing, full=full)
                finally:
                    self._slots.release()
            else:
                await self._agent.hand_back(email, lease, "outspool was stopped.")
        finally:
            self._leases[lease.token] -= 1
            self._leases += Counter()  # forget leases that hold nothing more

    async def _has_slot(self) -> bool:
        """Wait for a connection's turn; False when the dispatcher stops first."""
        turn = asyncio.ensure_future(self._slots.acquire())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((turn, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not turn.done():
                turn.cancel()
        if turn.cancelled() or not turn.done():
            return False
        if self._stopping.is_set():
            self._slots.release()
            return False
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a delivery ended unexpectedly", exc_info=error)
        # A claim for each email that ends would cost more than the emails: refill when half are through.
        if self._more_is_due and len(self._tasks) <= self._limits.batch // 2:
            self.wake()

    async def beat(self) -> None:
        """Keep the leases of what is under way, and show that this worker lives; not once it stops."""
        if self._stopping.is_set():
            return
        now = self._clock.now()
        try:
            await self._queue.heartbeat(tuple(self._leases), until=now + self._pace.lease, worker=self._name, at=now)
        except Exception as error:  # noqa: BLE001 - the next beat comes
            logger.debug("no heartbeat: %s", error)

    async def rescue(self) -> None:
        """Free what dead workers hold."""
        try:
            freed = await self._queue.rescue(now=self._clock.now(), resend_marked=self._resend_doubtful)
        except Exception as error:  # noqa: BLE001 - the next round comes
            logger.debug("no rescue: %s", error)
            return
        if freed:
            logger.warning("freed %d emails of a worker that died", freed)
            self.wake()

    async def stop(self) -> None:
        """Claim nothing more, let what is on the wire end within the grace period, hand back the rest."""
        self._stopping.set()
        self.wake()
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=self._pace.grace_seconds)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        with contextlib.suppress(OutspoolError):
            await self._queue.retire(self._name)
