"""Delivers one claimed email: compose, mark, deliver, record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

from outspool.domain.cap import FullQuota
from outspool.domain.delivery import Delivery, Outcome, Verdict
from outspool.domain.email import Email, Problem
from outspool.domain.fault import (
    Fault,
    Trouble,
    attribute_fault,
    find_silent_drop,
    is_connection_limit,
    is_message_triggered,
)
from outspool.domain.policy import Policy
from outspool.domain.policy_check import apply_policy, explain_refusal
from outspool.domain.settlement import (
    defer_for_account,
    defer_for_attachments,
    defer_for_quota,
    defer_on_refusal,
    expire,
    fail_unsendable,
    settle_delivery,
)
from outspool.domain.status import RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import (
    AccountTrouble,
    AttachmentLost,
    BlobsUnavailable,
    LeaseLost,
    OutspoolError,
    QuotaReached,
    Refusal,
    StoreUnavailable,
)
from outspool.ports.clock import Clock
from outspool.ports.queue import Expiry, Lease, Queue
from outspool.ports.transport import Stream, Transport
from outspool.services.delivery.breaker import Breaker, Probe
from outspool.services.delivery.clock_watch import ClockWatch
from outspool.services.delivery.recording import Mark, Recorder
from outspool.services.delivery.timings import Timings

logger = logging.getLogger(__name__)

_ASIDE = timedelta(seconds=5)
"""Delay of an email that met a connection limit while others were delivered."""
_BEHIND = timedelta(minutes=1)
"""Delay after a pause of an email that may have caused it, so that another email is the probe."""

_INTERRUPTED = Problem(
    code="in_doubt",
    message="outspool was stopped while the server had not yet confirmed the message.",
    hint="Ask the recipient, or look into the account's sent mail, before you retry.",
)


class DeliveryAgent:
    """Delivers claimed emails; deliveries may run concurrently."""

    def __init__(
        self,
        recorder: Recorder,
        queue: Queue,
        transport: Transport,
        breaker: Breaker,
        *,
        open_message: Callable[[Email], AbstractAsyncContextManager[bytes | Stream]],
        next_delay: Callable[[int], timedelta | None],
        resend_doubtful: bool,
        policy: Policy,
        watch: ClockWatch,
        clock: Clock,
        timings: Timings,
    ) -> None:
        """`policy` is checked again for each email before it is sent.

        `open_message` composes an email and keeps its files open while it is sent. `next_delay` maps the number of
        attempts to the delay before the next one; None gives up.
        """
        self._recorder = recorder
        self._queue = queue
        self._transport = transport
        self._breaker = breaker
        self._open_message = open_message
        self._next_delay = next_delay
        self._resend_doubtful = resend_doubtful
        self._policy = policy
        self._watch = watch
        self._clock = clock
        self._timings = timings

    async def deliver_one(
        self,
        email: Email,
        lease: Lease,
        *,
        expiry: Expiry,
        probe: Probe | None = None,
        full: FullQuota | None = None,
    ) -> None:
        """Make one attempt at `email`, held under `lease`, and record the outcome.

        `expiry` is which emails could expire when this one was claimed. With `probe`, the account is in trouble and
        this email probes it. With `full`, the daily quota is used up and the email is deferred. If canceled midway, the
        email returns to the queue, or becomes ``unknown`` if it was marked.
        """
        email, refusal = apply_policy(self._policy, email)
        mark = Mark(self._queue, email, lease, clock=self._clock, timings=self._timings)
        try:
            change = await self._attempt(email, mark, expiry=expiry, refusal=refusal, probe=probe, full=full)
            change = change if refusal is None else explain_refusal(refusal, change)
        except asyncio.CancelledError:
            await self._recorder.record_last(email, self._plan_interruption(email, mark), lease)
            raise
        await self._recorder.record(email, change, lease)
        if probe is not None:
            await probe.conclude()

    async def hand_back(self, email: Email, lease: Lease, why: str) -> None:
        """Return an email to the queue that was claimed but not attempted."""
        await self._recorder.record(email, self._nothing_sent(email, "handed_back", why), lease)

    async def _attempt(
        self,
        email: Email,
        mark: Mark,
        *,
        expiry: Expiry,
        refusal: Problem | None,
        probe: Probe | None,
        full: FullQuota | None,
    ) -> Transition:
        """Attempt `email`; return its next state. `refusal` is why the policy excludes some or all recipients."""
        is_spared = expiry is Expiry.TRIED and not email.attempts
        early = self._early_end(email, refusal, is_spared=is_spared, is_probe=probe is not None, full=full)
        if early is not None:
            return early
        began = self._clock.elapsed()
        try:
            delivery = await self._deliver(email, mark)
        except (Refusal, AttachmentLost) as never:
            return fail_unsendable(email, Problem.of(never), now=self._clock.now())
        except BlobsUnavailable as away:
            return defer_for_attachments(email, Problem.of(away), now=self._clock.now(), may_expire=not is_spared)
        except AccountTrouble as trouble:
            return await self._in_trouble(email, Trouble.of(trouble), probe, began)
        except QuotaReached as reached:
            full = FullQuota(until=reached.until, problem=Problem.of(reached))
            return defer_for_quota(email, full, now=self._clock.now())
        except (LeaseLost, StoreUnavailable) as error:
            return self._nothing_sent(email, error.code, error.message)
        if isinstance(delivery, Trouble):
            return await self._in_trouble(email, delivery, probe, began)
        return self._after(email, delivery, probe)

    def _early_end(
        self, email: Email, refusal: Problem | None, *, is_spared: bool, is_probe: bool, full: FullQuota | None
    ) -> Transition | None:
        """Return the email's next state if it must not be sent now; None if it is to be sent."""
        now = self._clock.now()
        if email.expires_at <= now and not is_spared:
            if self._watch.expiry() is Expiry.HELD:
                return self._nothing_sent(email, "clock_jumped", "The clock jumped after it was claimed.")
            return expire(email, now=now)
        if refusal is not None and not email.owed:
            return fail_unsendable(email, refusal, now=now)
        trouble = self._breaker.trouble()
        if trouble is not None and not is_probe:
            return defer_for_account(email, trouble, now=now)
        return None if full is None else defer_for_quota(email, full, now=now)

    async def _deliver(self, email: Email, mark: Mark) -> Delivery | Trouble:
        """Return the server's replies, or the trouble if it fell silent.

        Raises what is wrong with the email, the account, the database or the lease.
        """
        addresses = [r.address for r in email.owed]
        sender = email.content.sender.address
        try:
            async with self._open_message(email) as message:
                delivery = await self._transport.deliver(message, sender=sender, recipients=addresses, before_data=mark)
        except OutspoolError:
            raise
        except Exception:
            # A bug must not stop the worker, send twice, or retry forever. Once marked, the message may have been sent:
            # in doubt.
            logger.exception("the attempt at email %s failed unexpectedly", email.id)
            verdict = Verdict.IN_DOUBT if mark.is_made else Verdict.RETRY
            outcome = Outcome(verdict=verdict, why="outspool failed unexpectedly; its log says how.")
            return Delivery(outcomes=dict.fromkeys(addresses, outcome))
        return find_silent_drop(delivery) or delivery

    def _after(self, email: Email, delivery: Delivery, probe: Probe | None) -> Transition:
        if any(outcome.reply is not None for outcome in delivery.outcomes.values()):
            self._breaker.record_success()
            if probe is not None:
                probe.passes()
        return settle_delivery(
            email,
            delivery,
            now=self._clock.now(),
            delay=self._next_delay(email.attempts + 1),
            resend_doubtful=self._resend_doubtful,
        )

    async def _in_trouble(self, email: Email, found: Trouble, probe: Probe | None, began: float) -> Transition:
        """Return the next state after `found`, and trip the breaker if the account is at fault.

        `began` is when the attempt started (`Clock.elapsed`).
        """
        breaker = self._breaker
        one_too_many = probe is None and is_connection_limit(found) and breaker.limiter.reject_one()
        others_pass = probe is None and (one_too_many or breaker.has_succeeded_since(began))
        match attribute_fault(found, email, others_pass=others_pass, account_is_well=not breaker.state.failures):
            case Fault.EMAIL:
                delay = self._next_delay(email.attempts + 1)
                return defer_on_refusal(email, found, now=self._clock.now(), delay=delay)
            case Fault.CROWD:
                now = self._clock.now()
                return defer_for_account(email, found, now=now, due_at=now + _ASIDE)
            case Fault.ACCOUNT:
                if probe is not None:
                    probe.fails(found)
                else:
                    await breaker.trip(found)
                now = self._clock.now()
                resumes = max(now, breaker.state.paused_until or now) + _BEHIND
                return defer_for_account(email, found, now=now, due_at=resumes if is_message_triggered(found) else now)

    def _nothing_sent(self, email: Email, code: str, why: str) -> Transition:
        return Transition.handed_back(at=self._clock.now(), code=code, detail=why, recipients=email.recipients)

    def _plan_interruption(self, email: Email, mark: Mark) -> Transition:
        if not mark.is_made:
            return self._nothing_sent(email, "handed_back", "outspool was stopped.")
        recipients = tuple(replace(r, status=RecipientStatus.UNKNOWN) if r.is_owed else r for r in email.recipients)
        return Transition.unknown(
            at=self._clock.now(), recipients=recipients, attempts=email.attempts + 1, problem=_INTERRUPTED
        )
