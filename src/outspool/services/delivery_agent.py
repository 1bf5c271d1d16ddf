"""Takes one claimed email to its outcome: compose → mark → deliver → record."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from outspool.domain.delivery import Delivery, Outcome, Verdict
from outspool.domain.email import Email, Problem
from outspool.domain.settlement import account_resting, after_delivery, out_of_time, quota_full, unsendable
from outspool.domain.status import RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import AccountTrouble, LeaseLost, OutspoolError, QuotaReached, Refusal, StoreUnavailable
from outspool.ports import Clock, EmailStore, Lease, Queue, Transport
from outspool.services.breaker import Breaker
from outspool.services.pace import Pace

logger = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds between attempts to record an outcome while the database is away."""

_INTERRUPTED = Problem(
    code="in_doubt",
    message="outspool was stopped while the server had not yet confirmed the message.",
    hint="Ask the recipient, or look into the account's sent mail, before you retry.",
)


class DeliveryAgent:
    """Delivers claimed emails, any number at a time."""

    def __init__(
        self,
        store: EmailStore,
        queue: Queue,
        transport: Transport,
        breaker: Breaker,
        *,
        compose: Callable[[Email], Awaitable[bytes]],
        next_delay: Callable[[int], timedelta | None],
        resend_doubtful: bool,
        clock: Clock,
        pace: Pace,
    ) -> None:
        """`next_delay` says how long to wait after so many attempts, None to give up."""
        self._store = store
        self._queue = queue
        self._transport = transport
        self._breaker = breaker
        self._compose = compose
        self._next_delay = next_delay
        self._resend_doubtful = resend_doubtful
        self._clock = clock
        self._pace = pace

    async def carry(
        self, email: Email, lease: Lease, *, probing: bool = False, full: QuotaReached | None = None
    ) -> None:
        """Make one attempt at `email`, held under `lease`, and record what came of it.

        `probing`: the account is in trouble and this email is the trial whether it still is. `full`: the day's quota
        is used up, so the email waits for that. When canceled midway the
        email is handed back, or becomes ``unknown`` if it was marked.
        """
        mark = _Mark(self._queue, email, lease, self._clock)
        try:
            change = await self._attempt(email, mark, probing=probing, full=full)
        except asyncio.CancelledError:
            last_words = self._record(email, self._interrupted(email, mark), lease)
            await asyncio.wait_for(last_words, self._pace.last_words_seconds)
            raise
        if change is not None:
            await self._record(email, change, lease)
        if probing:
            with contextlib.suppress(OutspoolError):
                await self._breaker.end_trial()

    async def hand_back(self, email: Email, lease: Lease, why: str) -> None:
        """Return an email that was claimed and not begun to the queue."""
        change = Transition.handed_back(at=self._clock.now(), code="handed_back", detail=why)
        await self._record(email, change, lease)

    async def _attempt(
        self, email: Email, mark: _Mark, *, probing: bool, full: QuotaReached | None
    ) -> Transition | None:
        """Return what becomes of the email; None when it is no longer ours to say."""
        now = self._clock.now()
        if email.expires_at <= now:
            return out_of_time(email, now=now)
        trouble = self._breaker.trouble()
        if trouble is not None and not probing:
            return account_resting(email, trouble, now=now)
        if full is not None:
            return quota_full(email, full, now=now)
        try:
            delivery = await self._deliver(email, mark)
        except Refusal as refusal:
            return unsendable(email, now=now, code=refusal.code, why=refusal.message)
        except AccountTrouble as found:
            await self._breaker.trip(found, probing=probing)
            return account_resting(email, found, now=self._clock.now(), found_it=True)
        except QuotaReached as reached:
            return quota_full(email, reached, now=self._clock.now())
        except LeaseLost:
            logger.warning("email %s was claimed by another worker before it left; left to it", email.id)
            return None
        except StoreUnavailable as error:
            return Transition.handed_back(at=self._clock.now(), code=error.code, detail=error.message)
        self._breaker.answered(probing=probing)
        return after_delivery(
            email,
            delivery,
            now=self._clock.now(),
            delay=self._next_delay(email.attempts + 1),
            resend_doubtful=self._resend_doubtful,
        )

    async def _deliver(self, email: Email, mark: _Mark) -> Delivery:
        addresses = [r.address for r in email.owed]
        sender = email.content.sender.address
        try:
            message = await self._compose(email)
            return await self._transport.deliver(message, sender=sender, recipients=addresses, before_data=mark)
        except OutspoolError:
            raise
        except Exception:
            # A fault of ours must neither end the worker, nor send twice, nor be tried without end.
            logger.exception("the attempt at email %s failed unexpectedly", email.id)
            verdict = Verdict.IN_DOUBT if mark.is_made else Verdict.RETRY
            outcome = Outcome(verdict=verdict, why="outspool failed unexpectedly; its log says how.")
            return Delivery(outcomes=dict.fromkeys(addresses, outcome))

    def _interrupted(self, email: Email, mark: _Mark) -> Transition:
        now = self._clock.now()
        if not mark.is_made:
            return Transition.handed_back(at=now, code="handed_back", detail="outspool was stopped.")
        recipients = tuple(replace(r, status=RecipientStatus.UNKNOWN) if r.is_owed else r for r in email.recipients)
        return Transition.unknown(at=now, recipients=recipients, attempts=email.attempts + 1, problem=_INTERRUPTED)

    async def _record(self, email: Email, change: Transition, lease: Lease) -> None:
        """Record, however long the database is away: what the server said is known nowhere else."""
        wait = _FIRST_WAIT
        while True:
            try:
                if not await self._store.record(email.id, change, lease=lease.token):
                    logger.warning("email %s was no longer ours; its outcome (%s) is dropped", email.id, change.target)
                return
            except StoreUnavailable as error:
                logger.warning("the outcome of email %s waits for the database: %s", email.id, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)


class _Mark:
    """Commits, when called, that a message is about to leave; from then on only a reply can say where it is."""

    def __init__(self, queue: Queue, email: Email, lease: Lease, clock: Clock) -> None:
        self._queue = queue
        self._email = email
        self._lease = lease
        self._clock = clock
        self.is_made = False

    async def __call__(self) -> None:
        """Raise `LeaseLost` when the email is no longer ours, `QuotaReached`, or `StoreUnavailable` (nobody knows)."""
        if not await self._queue.mark(
            self._email.id, self._lease, at=self._clock.now(), recipients=len(self._email.owed)
        ):
            raise LeaseLost("Another worker may own this email by now.")
        self.is_made = True
