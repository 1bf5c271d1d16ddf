"""Answers callers whose emails wait: what became of them, when one changes, and why it does not leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from uuid import UUID

from outspool.domain.email import Email
from outspool.domain.principal import Scope
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.domain.summary import Pause
from outspool.errors import OutspoolError, StoreUnavailable
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.ports.emails import Changes, EmailStore

logger = logging.getLogger(__name__)

_OUTCOME_SHORTEST_SECONDS = 0.02
_OUTCOME_POLL_SECONDS = 0.5
"""How often to look for outcomes, should a notice from another process be missed; and how often at most."""

_CHANGE_SHORTEST_SECONDS = 0.25
"""How often one email is looked at while many others change."""
_CHANGE_POLL_SECONDS = 1.0
"""How long news may take that no notice told of: other processes tell of what may be due, not of each outcome."""

_A_MOMENT_SECONDS = 0.25
"""For so long the account's state is not read again for every answer."""


class OutcomeWaiter:
    """Lets any number of callers wait, at the cost of one."""

    def __init__(self, store: EmailStore, changes: Changes) -> None:
        """Look into `store` when `changes` says so."""
        self._store = store
        self._changes = changes
        self._waited_for: Counter[UUID] = Counter()
        self._news = asyncio.Condition()
        self._settled: set[UUID] = set()
        self._watch: asyncio.Task[None] | None = None

    async def wait(self, email_id: UUID, *, max_wait: float) -> bool:
        """Wait until something has come of the email; False when nothing has after `max_wait` seconds."""
        self._waited_for[email_id] += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._look(), name="outcome-waiter")
        try:
            async with asyncio.timeout(max_wait), self._news:
                await self._news.wait_for(lambda: email_id in self._settled)
        except TimeoutError:
            return False
        finally:
            self._leave(email_id)
        return True

    def _leave(self, email_id: UUID) -> None:
        self._waited_for[email_id] -= 1
        if self._waited_for[email_id] <= 0:
            del self._waited_for[email_id]
            self._settled.discard(email_id)

    async def _look(self) -> None:
        """Ask the store about all that is waited for, after each change and now and then, while anybody waits."""
        changed = asyncio.Event()
        async with self._changes.watch(changed.set):
            try:
                while self._waited_for:
                    changed.clear()
                    await self._tell(await self._find_settled())
                    await asyncio.sleep(_OUTCOME_SHORTEST_SECONDS)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), _OUTCOME_POLL_SECONDS)
            finally:
                self._watch = None  # before the watch closes: who comes now must begin another

    async def _find_settled(self) -> frozenset[UUID]:
        # For all callers at once: each waits only for emails that its own scope has shown it.
        try:
            return await self._store.find_settled(tuple(self._waited_for), Scope.everything())
        except OutspoolError as error:
            logger.debug("waiting for the database: %s", error)
            return frozenset()

    async def _tell(self, settled: frozenset[UUID]) -> None:
        if settled:
            async with self._news:
                self._settled |= settled & self._waited_for.keys()
                self._news.notify_all()


async def wait_for_change(store: EmailStore, changes: Changes, email_id: UUID, scope: Scope, *, after: int) -> int:
    """Return the email's version as soon as it is another than `after`; a database that is away is waited for."""
    changed = asyncio.Event()
    async with changes.watch(changed.set):
        while True:
            changed.clear()
            try:
                version = await store.version(email_id, scope)
            except StoreUnavailable as error:
                logger.debug("waiting for the database: %s", error)
                version = after
            if version is not None and version != after:
                return version
            await asyncio.sleep(_CHANGE_SHORTEST_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _CHANGE_POLL_SECONDS)


class PauseReader:
    """Says why an email does not leave, if that is the account's fault."""

    def __init__(self, account: Account, *, clock: Clock) -> None:
        """Share the account with the dispatcher."""
        self._account = account
        self._clock = clock
        self._seen: tuple[float, AccountState] | None = None

    async def read(self, email: Email | None = None) -> Pause | None:
        """Return why and until when the account rests, None if it does not, or if `email` does not wait for it.

        A server that does not answer just now is a pause that is over.

        It only colours the answer about an email that is accepted already, so no trouble here may hide that answer,
        and what was read a moment ago is good enough, but for what the account has just kept from leaving.
        """
        if email is not None and email.status not in CLAIMABLE | {EmailStatus.SENDING}:
            return None
        try:
            is_news = email is not None and email.status is EmailStatus.DEFERRED
            account = await (self._account.state() if is_news else self._lately())
        except Exception:
            logger.warning("could not read the state of the SMTP account", exc_info=True)
            return None
        now = self._clock.now()
        if account.paused_until is None or not (account.is_paused(now) or account.is_silent(now)):
            return None
        if email is not None and email.status is EmailStatus.SENDING and not account.is_silent(now):
            return None
        return Pause(until=account.paused_until, reason=account.message)

    async def _lately(self) -> AccountState:
        now = time.monotonic()
        if self._seen is None or now > self._seen[0] + _A_MOMENT_SECONDS:
            self._seen = now, await self._account.state()
        return self._seen[1]
