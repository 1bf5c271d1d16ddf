"""Renews this worker's leases, rescues the emails of dead workers, and measures the clock's skew."""

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
"""A larger difference between this clock and the database's is reported."""


def describe_skew(skew: timedelta) -> str:
    """Return the skew in words, e.g. "12 s ahead of the database's"."""
    side = "ahead of" if skew > timedelta() else "behind"
    return f"{abs(skew).total_seconds():,.0f} s {side} the database's"


class LeaseKeeper:
    """One worker's leases and heartbeat.

    A claim holds until `lease.until`. The worker renews it with every heartbeat, so it runs out only if the worker
    died, was stopped or lost the database. Anybody may rescue an email whose lease ran out: unmarked, it was not sent,
    so it returns to the queue; marked, it may have been sent, so it becomes ``unknown``. A worker that was only slow
    finds another token in the row, and its writes are dropped.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        name: str,
        is_temporary: bool,
        resend_doubtful: bool,
        freed: Callable[[], None],
        watch: ClockWatch,
        clock: Clock,
        timings: Timings,
    ) -> None:
        """`name` is shown by `doctor`; `is_temporary` is as in `WorkerHeartbeat`.

        `freed` is called after emails were rescued.
        """
        self._queue = queue
        self._name = name
        self._is_temporary = is_temporary
        self._resend_doubtful = resend_doubtful
        self._on_freed = freed
        self._watch = watch
        self._clock = clock
        self._timings = timings
        self._held_tokens: Counter[UUID] = Counter()
        self._is_retired = False
        self._clock_is_wrong = False

    def new(self) -> Lease:
        """Return a lease for one claim, with a token that is never reused."""
        return Lease(token=uuid4(), until=self._clock.now() + self._timings.lease)

    def hold(self, lease: Lease) -> None:
        """Count one more email under this lease; while the count is positive, heartbeats renew the lease."""
        self._held_tokens[lease.token] += 1

    def let_go(self, lease: Lease) -> None:
        """Count one email less under this lease."""
        self._held_tokens[lease.token] -= 1
        if self._held_tokens[lease.token] <= 0:
            del self._held_tokens[lease.token]

    async def pulse(self) -> None:
        """Renew our leases, then rescue. In this order, because after a sleep our own leases have run out too."""
        await self.beat()
        await self.rescue()

    async def beat(self) -> None:
        """Renew the leases in use and record this worker's heartbeat; does nothing after `retire`."""
        if self._is_retired:
            return
        now = self._clock.now()
        try:
            others = await self._queue.workers(since=_LONG_AGO)  # first: our heartbeat deletes old rows
            self._watch.compare(worker for worker in others if worker.name != self._name)
            skew = await self._queue.heartbeat(
                tuple(self._held_tokens),
                until=now + self._timings.lease,
                worker=self._name,
                at=now,
                is_temporary=self._is_temporary,
            )
        except Exception as error:  # noqa: BLE001 - the next heartbeat tries again
            logger.debug("no heartbeat: %s", error)
            return
        self._report_skew(skew or timedelta())

    async def rescue(self) -> None:
        """Free emails whose lease ran out, of any worker."""
        try:
            freed = await self._queue.rescue(now=self._clock.now(), resend_marked=self._resend_doubtful)
        except Exception as error:  # noqa: BLE001 - the next round tries again
            logger.debug("no rescue: %s", error)
            return
        if freed:
            logger.warning("freed %d emails of a worker that died", freed)
            self._on_freed()

    async def retire(self) -> None:
        """Remove this worker's heartbeat. Emails it still holds are rescued when their lease runs out."""
        self._is_retired = True
        try:
            await self._queue.retire(self._name)
        except OutspoolError as error:
            logger.debug("not retired: %s", error)

    def _report_skew(self, skew: timedelta) -> None:
        """Log once when this machine's clock becomes wrong, and once when it is right again."""
        was_wrong, self._clock_is_wrong = self._clock_is_wrong, abs(skew) > WORST_SKEW
        if self._clock_is_wrong and not was_wrong:
            logger.warning(
                "The clock of this machine is %s, whose clock decides what is due: set both by NTP.",
                describe_skew(skew),
            )
        elif was_wrong and not self._clock_is_wrong:
            logger.warning("The clocks of this machine and the database agree again.")
