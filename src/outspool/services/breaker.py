"""Rests the SMTP account when it, not an email, is in trouble, and tries it again with one email at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import Enum, auto

from outspool.errors import AccountTrouble, StoreUnavailable, TroubleKind
from outspool.ports import Account, AccountState, Clock
from outspool.services.pace import Pace

logger = logging.getLogger(__name__)


class _Trial(Enum):
    SILENT = auto()
    PASSED = auto()
    FAILED = auto()


class Breaker:
    """What this process knows of the account's state, kept in step with what all processes share."""

    def __init__(
        self,
        account: Account,
        *,
        clock: Clock,
        pause: Callable[[TroubleKind, int], timedelta],
        credential: Callable[[], str],
        pace: Pace,
    ) -> None:
        """`pause` says how long to rest after so many failures in a row; `credential` is a hash of the login."""
        self._account = account
        self._clock = clock
        self._pause = pause
        self._credential = credential
        self._pace = pace
        self._state = AccountState()
        self._tripping = asyncio.Lock()
        self._trial = _Trial.SILENT

    async def refresh(self) -> AccountState:
        """Return the shared state, and remember it."""
        self._state = await self._account.state()
        return self._state

    def trouble(self) -> AccountTrouble | None:
        """Return why nothing should be tried now, None when the account is well."""
        if not self._state.is_paused(self._clock.now()):
            return None
        return AccountTrouble(TroubleKind(self._state.kind), self._state.message, self._state.hint)

    async def take_probe(self) -> bool:
        """Take the one trial after a pause; False when another process has it."""
        self._trial = _Trial.SILENT
        now = self._clock.now()
        return await self._account.take_probe(now=now, until=now + self._pace.probe)

    async def trip(self, trouble: AccountTrouble, *, probing: bool) -> None:
        """Rest the account; of several deliveries that fail at once only the first counts."""
        async with self._tripping:
            self._trial = _Trial.FAILED
            now = self._clock.now()
            if self._state.is_paused(now) and not probing:
                return
            failures = self._state.failures + 1
            rest = self._pause(trouble.kind, failures)
            self._state = AccountState(
                paused_until=now + rest,
                failures=failures,
                kind=trouble.kind.value,
                message=trouble.message,
                hint=trouble.hint,
                credential=self._credential() if trouble.kind is TroubleKind.LOGIN else "",
            )
            logger.warning("%s Resting the account for %.0f s.", trouble, rest.total_seconds())
            await self._save()

    def answered(self, *, probing: bool) -> None:
        """Note that the server served an email.

        Only a trial counts: success over a connection that was opened before the trouble says nothing about a new one.
        """
        if probing:
            self._trial = _Trial.PASSED

    async def end_trial(self) -> None:
        """Draw the conclusion of the trial, once its email's own outcome is safe."""
        if self._trial is _Trial.PASSED:
            self._state = AccountState()
            logger.info("The SMTP account works again.")
            await self._save()
        elif self._trial is _Trial.SILENT:
            await self.end_pause()  # it never reached the server: the next email may try

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
        if state.failures:
            self._state = replace(state, paused_until=self._clock.now())
            await self._account.set_state(self._state)

    def _may_be_mended(self, state: AccountState) -> bool:
        if state.kind == TroubleKind.LOGIN:
            return state.credential != self._credential()
        return state.kind != TroubleKind.THROTTLED

    async def _save(self) -> None:
        try:
            await self._account.set_state(self._state)
        except StoreUnavailable:
            logger.debug("the account's state could not be stored")
