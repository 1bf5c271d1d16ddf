"""Pauses the SMTP account after an account-wide failure, and probes it with one email at a time: a circuit breaker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from outspool.domain.fault import Trouble
from outspool.errors import StoreUnavailable, TroubleKind
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.services.delivery.concurrency import ConcurrencyLimiter
from outspool.services.delivery.timings import Timings

logger = logging.getLogger(__name__)


class Breaker:
    """The account's state as one process sees it, synchronised with the state shared in the database.

    Every write is a compare-and-swap from the state it was computed from (`Account.swap`). So when several processes
    meet the same trouble, it is counted once and no pause is shortened, and a success on a connection opened before the
    trouble does not end the pause.

    After a pause exactly one process probes the account. It records the probe as failed before it starts
    (`take_probe`), and only the holder of the `Probe` can take that back; so a process that dies during its probe
    counts as a failed probe.

    After trouble each process starts again with one connection (`limiter`), so that the backlog does not hit the server
    at once. When the server throttled us, the maximum number of connections is halved as well.
    """

    def __init__(
        self,
        account: Account,
        *,
        clock: Clock,
        pause: Callable[[TroubleKind, int], timedelta],
        credential: Callable[[], str],
        timings: Timings,
        connections: int = 1,
    ) -> None:
        """`pause` maps a kind of trouble and its failures in a row to a pause; `credential` hashes the login."""
        self._account = account
        self._clock = clock
        self._pause = pause
        self._credential = credential
        self._timings = timings
        self.limiter = ConcurrencyLimiter(connections, elapsed=clock.elapsed)
        self._state = AccountState()
        self._succeeded_at = -1.0
        self._trip_lock = asyncio.Lock()

    @property
    def state(self) -> AccountState:
        """The account's state as this process last saw it."""
        return self._state

    async def refresh(self) -> AccountState:
        """Read the shared state, remember it and return it."""
        self._learn(await self._account.state())
        return self._state

    def trouble(self) -> Trouble | None:
        """Return why only a probe may be sent now; None when the account works."""
        if not self._state.failures:
            return None
        return Trouble(TroubleKind(self._state.kind), self._state.message, self._state.hint)

    def record_success(self) -> None:
        """Record that the server replied to an email; raises the connection limit by one."""
        self._succeeded_at = self._clock.elapsed()
        self.limiter.raise_limit()

    def has_succeeded_since(self, moment: float) -> bool:
        """Tell whether the server replied to any email after `moment`, a reading of `Clock.elapsed`."""
        return self._succeeded_at > moment

    async def trip(self, trouble: Trouble) -> None:
        """Pause the account. Of several deliveries that fail at once, in any process, only the first counts.

        If the database is unavailable, only this process pauses.
        """
        async with self._trip_lock:
            if self._state.failures:
                return  # already paused, or about to be probed
            await self._swap(self._state, self._next_state(trouble, failures=0))

    async def report_silence(self, sentence: str) -> None:
        """Share that the server keeps us waiting, for the answers of callers who wait; take it back if empty.

        It pauses nothing: the server may only be slow. If the database is unavailable, nobody is told.
        """
        state = self._state
        if state.failures or not (sentence or state.message):
            return
        remark = AccountState(paused_until=self._clock.now(), message=sentence) if sentence else AccountState()
        with contextlib.suppress(StoreUnavailable):
            if await self._account.swap(state, remark):
                self._state = remark
            else:
                await self.refresh()

    async def take_probe(self) -> Probe | None:
        """Claim the probe that follows a pause; None without trouble, in a pause, or if another process probes."""
        before = self._state
        if not before.failures or before.is_paused(self._clock.now()):
            return None
        # Record the failure first, with the next pause, and only then probe. The swap succeeds in one process only, and
        # if that process dies, the pause already stands in the database: no lock has to be released. The pause lasts at
        # least `timings.probe`, so that a slow probe is not overtaken by a second one.
        failures = before.failures + 1
        pause = max(self._timings.probe, self._pause(TroubleKind(before.kind), failures))
        hold = replace(before, failures=failures, paused_until=self._clock.now() + pause)
        if not await self._account.swap(before, hold):
            await self.refresh()
            return None
        self._learn(hold)
        return Probe(self, before=before, hold=hold)

    async def end_trial(self, before: AccountState, hold: AccountState, trouble: Trouble | None) -> None:
        """Replace `hold` by the probe's result (None: it passed), unless another process has probed since."""
        state = AccountState() if trouble is None else self._next_state(trouble, failures=before.failures)
        await self._swap(hold, state)

    async def give_up_trial(self, before: AccountState, hold: AccountState) -> None:
        """Restore the state before the probe, because its email never reached the server."""
        await self._swap(hold, before)

    async def allow_probe(self) -> None:
        """End the pause early when the cause may have been fixed; called when a process starts.

        A refused login is not retried early unless the password changed, because providers lock accounts. A server that
        throttled us is not retried early either.
        """
        state = await self.refresh()
        if state.is_paused(self._clock.now()) and self._may_work_again(state):
            await self.end_pause()

    async def end_pause(self) -> None:
        """End the pause now: the next email is the probe."""
        state = await self.refresh()
        if state.failures and await self._account.swap(state, replace(state, paused_until=self._clock.now())):
            await self.refresh()

    async def _swap(self, before: AccountState, state: AccountState) -> None:
        try:
            if await self._account.swap(before, state):
                self._learn(state)
            else:
                await self.refresh()
        except StoreUnavailable:
            self._learn(state)  # pause this process; the next claim reads the shared state

    def _next_state(self, trouble: Trouble, *, failures: int) -> AccountState:
        # A different kind of trouble starts counting from one: a connection limit that follows a day without network
        # should not cost an hour.
        failures = failures + 1 if trouble.kind.value == self._state.kind else 1
        return AccountState(
            paused_until=self._clock.now() + self._pause(trouble.kind, failures),
            failures=failures,
            kind=trouble.kind.value,
            message=trouble.message,
            hint=trouble.hint,
            credential=self._credential() if trouble.kind is TroubleKind.LOGIN else "",
        )

    def _may_work_again(self, state: AccountState) -> bool:
        if state.kind == TroubleKind.LOGIN:
            return state.credential != self._credential()
        return state.kind != TroubleKind.THROTTLED

    def _learn(self, state: AccountState) -> None:
        """Remember `state`; log when trouble starts, changes or ends, wherever it was found, but not each probe."""
        before, self._state = self._state, state
        if state.failures and not before.failures:
            self.limiter.restart()
            if state.kind == TroubleKind.THROTTLED:
                self.limiter.lower_limit(self.limiter.limit // 2)
        if state.failures and (not before.failures or state.kind != before.kind):
            logger.warning("%s Sending rests, and is tried again by itself. %s", state.message, state.hint)
        elif before.failures and not state.failures:
            logger.warning("The SMTP account works again.")


class Probe:
    """The one probe of a paused account. Only its holder may report the result."""

    def __init__(self, breaker: Breaker, *, before: AccountState, hold: AccountState) -> None:
        """`before` is the state before the probe; `hold` is the state that keeps other processes from probing."""
        self._breaker = breaker
        self._before = before
        self._hold = hold
        self._has_passed = False
        self._trouble: Trouble | None = None

    def passes(self) -> None:
        """Record that the server replied to the email."""
        self._has_passed = True

    def fails(self, trouble: Trouble) -> None:
        """Record that the account still has trouble, perhaps of another kind."""
        self._trouble = trouble

    async def conclude(self) -> None:
        """Publish the result; without one, the state before the probe is restored.

        Call it once, after the email's own outcome has been recorded.
        """
        if self._has_passed or self._trouble is not None:
            await self._breaker.end_trial(self._before, self._hold, self._trouble)
        else:
            await self._breaker.give_up_trial(self._before, self._hold)
