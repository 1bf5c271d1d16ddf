"""Keeps a worker's leases alive, frees what dead workers hold, and watches the clock that leases are measured by."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from outspool.errors import OutspoolError
from outspool.ports.clock import Clock
from outspool.ports.queue import Lease, Queue
from outspool.services.delivery.clock_watch import ClockWatch
from outspool.services.delivery.timings import Timings

logger = logging.getLogger(__name__)

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)

WORST_SKEW = timedelta(seconds=2)
"""How far apart two clocks may be without anybody's noticing."""


def describe_skew(skew: timedelta) -> str:
    """Say how far a clock is from the database's."""
    side = "ahead of" if skew > timedelta() else "behind"
    return f"{abs(skew).total_seconds():,.0f} s {side} the database's"


class LeaseKeeper:
    """One worker's leases, and its place among the living."""

    def __init__(
        self,
        queue: Queue,
        *,
        name: str,
        resend_doubtful: bool,
        freed: Callable[[], None],
        watch: ClockWatch,
        clock: Clock,
        timings: Timings,
    ) -> None:
        """`name` is what `doctor` calls this worker; `freed` is called when there is work of the dead to do."""
        self._queue = queue
        self._name = name
        self._resend_doubtful = resend_doubtful
        self._freed = freed
        self._watch = watch
        self._clock = clock
        self._timings = timings
        self._held: Counter[UUID] = Counter()
        self._is_retired = False
        self._clock_is_wrong = False

    def new(self) -> Lease:
        """Return a lease for one claim; its token is nobody else's, ever."""
        return Lease(token=uuid4(), until=self._clock.now() + self._timings.lease)

    def hold(self, lease: Lease) -> None:
        """Keep this lease alive for one more email."""
        self._held[lease.token] += 1

    def let_go(self, lease: Lease) -> None:
        """Keep it alive for one less."""
        self._held[lease.token] -= 1
        if self._held[lease.token] <= 0:
            del self._held[lease.token]

    async def pulse(self) -> None:
        """Renew our leases, then free what dead workers hold. In this order: after a sleep ours seem dead too."""
        await self.beat()
        await self.rescue()

    async def beat(self) -> None:
        """Renew the leases of what is under way, and show that this worker lives; not once it has retired."""
        if self._is_retired:
            return
        now = self._clock.now()
        try:
            others = await self._queue.workers(since=_LONG_AGO)  # before ours forgets those of another time
            self._watch.compare(worker for worker in others if worker.name != self._name)
            skew = await self._queue.heartbeat(
                tuple(self._held), until=now + self._timings.lease, worker=self._name, at=now
            )
        except Exception as error:  # noqa: BLE001 - the next beat comes
            logger.debug("no heartbeat: %s", error)
            return
        self._judge(skew or timedelta())

    async def rescue(self) -> None:
        """Free what dead workers hold."""
        try:
            freed = await self._queue.rescue(now=self._clock.now(), resend_marked=self._resend_doubtful)
        except Exception as error:  # noqa: BLE001 - the next round comes
            logger.debug("no rescue: %s", error)
            return
        if freed:
            logger.warning("freed %d emails of a worker that died", freed)
            self._freed()

    async def retire(self) -> None:
        """Be seen no more; what is still held is free when its lease is over."""
        self._is_retired = True
        try:
            await self._queue.retire(self._name)
        except OutspoolError as error:
            logger.debug("not retired: %s", error)

    def _judge(self, skew: timedelta) -> None:
        """Say that this machine's clock is wrong, or right again, once each."""
        was_wrong, self._clock_is_wrong = self._clock_is_wrong, abs(skew) > WORST_SKEW
        if self._clock_is_wrong and not was_wrong:
            logger.warning(
                "The clock of this machine is %s, whose clock decides what is due: set both by NTP.",
                describe_skew(skew),
            )
        elif was_wrong and not self._clock_is_wrong:
            logger.warning("The clocks of this machine and the database agree again.")
