"""Rests the SMTP account when it, not an email, is in trouble, and tries it again with one email at a time."""

from __future__ import annotations

import asyncio
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
    """What this process knows of the account's state, kept in step with what all processes share.

    Every write is conditional on the state it was made from (`Account.swap`): of several processes that meet the same
    trouble one counts it, nobody shortens another's pause, and a success over a connection that was opened before
    the trouble ends none. Whoever tries the account after a pause writes down beforehand that it failed, and alone
    may take that back (`Probe`): a process that dies while it tries has tried.

    After a trouble each process begins with one connection again (`limiter`), so that the backlog does not fall upon
    the server at once; when the server asked for patience, with half as many at most.
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
        """`pause` says how long to rest after so many failures in a row; `credential` is a hash of the login."""
        self._account = account
        self._clock = clock
        self._pause = pause
        self._credential = credential
        self._timings = timings
        self.limiter = ConcurrencyLimiter(connections, elapsed=clock.elapsed)
        self._state = AccountState()
        self._served_at = -1.0
        self._tripping = asyncio.Lock()

    @property
    def state(self) -> AccountState:
        """The account's state as this process last saw it."""
        return self._state

    async def refresh(self) -> AccountState:
        """Return the shared state, and remember it."""
        self._learn(await self._account.state())
        return self._state

    def trouble(self) -> Trouble | None:
        """Return why nothing but a trial should be tried now, None when the account is well."""
        if not self._state.failures:
            return None
        return Trouble(TroubleKind(self._state.kind), self._state.message, self._state.hint)

    def record_success(self) -> None:
        """Note that the server served an email: one more may go at a time."""
        self._served_at = self._clock.elapsed()
        self.limiter.raise_limit()

    def has_succeeded_since(self, moment: float) -> bool:
        """Whether an email was served after `moment` (by `Clock.elapsed`)."""
        return self._served_at > moment

    async def trip(self, trouble: Trouble) -> None:
        """Rest the account; of several deliveries that fail at once, in whatever process, only the first counts.

        While the database is away this process alone rests it.
        """
        async with self._tripping:
            if self._state.failures:
                return  # it rests already, or waits for its trial
            await self._change(self._state, self._after(trouble, failures=0))

    async def take_probe(self) -> Probe | None:
        """Take the one trial after a pause; None when another process has it, or there is no need."""
        before = self._state
        if not before.failures or before.is_paused(self._clock.now()):
            return None
        failures = before.failures + 1
        rest = max(self._timings.probe, self._pause(TroubleKind(before.kind), failures))
        hold = replace(before, failures=failures, paused_until=self._clock.now() + rest)
        if not await self._account.swap(before, hold):
            await self.refresh()
            return None
        self._learn(hold)
        return Probe(self, before=before, hold=hold)

    async def end_trial(self, before: AccountState, hold: AccountState, found: Trouble | None) -> None:
        """Put what a trial `found` in place of its `hold`, unless it took so long that another process tries by now."""
        state = AccountState() if found is None else self._after(found, failures=before.failures)
        await self._change(hold, state)

    async def give_up_trial(self, before: AccountState, hold: AccountState) -> None:
        """Let another email be the trial: this one never reached the server."""
        await self._change(hold, before)

    async def allow_probe(self) -> None:
        """End a pause early, if whoever starts a process may just have mended what ails the account.

        A login that was refused is not tried again before its time: providers lock accounts. Nor is a server that
        asked for patience.
        """
        state = await self.refresh()
        if state.is_paused(self._clock.now()) and self._may_be_mended(state):
            await self.end_pause()

    async def end_pause(self) -> None:
        """Let the next email be the trial, now."""
        state = await self.refresh()
        if state.failures and await self._account.swap(state, replace(state, paused_until=self._clock.now())):
            await self.refresh()

    async def _change(self, seen: AccountState, state: AccountState) -> None:
        try:
            if await self._account.swap(seen, state):
                self._learn(state)
            else:
                await self.refresh()
        except StoreUnavailable:
            self._learn(state)  # better than to try again at once; the shared state is read before the next claim

    def _after(self, trouble: Trouble, *, failures: int) -> AccountState:
        # Another kind of trouble is a new one: a limit met after a day without network need not cost an hour.
        failures = failures + 1 if trouble.kind.value == self._state.kind else 1
        return AccountState(
            paused_until=self._clock.now() + self._pause(trouble.kind, failures),
            failures=failures,
            kind=trouble.kind.value,
            message=trouble.message,
            hint=trouble.hint,
            credential=self._credential() if trouble.kind is TroubleKind.LOGIN else "",
        )

    def _may_be_mended(self, state: AccountState) -> bool:
        if state.kind == TroubleKind.LOGIN:
            return state.credential != self._credential()
        return state.kind != TroubleKind.THROTTLED

    def _learn(self, state: AccountState) -> None:
        """Remember a state; log that a trouble begins, changes or ends, whoever found it, but no trial in between."""
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
    """The one trial of an account in trouble: only whoever holds it may say what came of it."""

    def __init__(self, breaker: Breaker, *, before: AccountState, hold: AccountState) -> None:
        """`before` was the account's state; `hold` is what keeps everybody else from trying meanwhile."""
        self._breaker = breaker
        self._before = before
        self._hold = hold
        self._has_passed = False
        self._found: Trouble | None = None

    def passes(self) -> None:
        """Note that the server served the email."""
        self._has_passed = True

    def fails(self, trouble: Trouble) -> None:
        """Note that the account still is in trouble, perhaps another."""
        self._found = trouble

    async def conclude(self) -> None:
        """Share what was noted; nothing noted means nothing tried. Once, when the email's own outcome is safe."""
        if self._has_passed or self._found is not None:
            await self._breaker.end_trial(self._before, self._hold, self._found)
        else:
            await self._breaker.give_up_trial(self._before, self._hold)
