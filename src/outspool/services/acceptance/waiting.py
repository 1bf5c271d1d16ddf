"""Answers callers whose emails wait: what became of them, when one changes, and why it does not leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from uuid import UUID

from outspool.domain.email import Email
from outspool.domain.outlook import Outlook, Pause, Senders
from outspool.domain.principal import Scope
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.errors import OutspoolError, StoreUnavailable, TroubleKind
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.ports.emails import Changes, EmailStore
from outspool.ports.queue import Queue

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
_SENDERS_SECONDS = 2.0
"""For so long the list of workers is not read again."""

_WAITING = CLAIMABLE | {EmailStatus.RECURRING, EmailStatus.SENDING}
_FOR_PERSONS = frozenset({TroubleKind.LOGIN, TroubleKind.TLS})
"""Trouble that passes only when somebody changes the settings."""


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


class OutlookReader:
    """Says who sends waiting emails, and why they do not leave if that is the account's fault."""

    def __init__(
        self,
        account: Account,
        queue: Queue,
        *,
        identity: str,
        worker: str,
        lease: timedelta,
        zone: Callable[[datetime], tzinfo],
        clock: Clock,
    ) -> None:
        """Share account and queue with the dispatcher.

        `worker` is the name under which this process sends, if it does; others live if they were heard of within
        `lease`. `zone` is the reader's at a time.
        """
        self.own = Senders.NONE
        """What this process itself is to its callers."""
        self._account = account
        self._queue = queue
        self._identity = identity
        self._worker = worker
        self._lease = lease
        self._zone = zone
        self._clock = clock
        self._seen: tuple[float, AccountState] | None = None
        self._senders: tuple[float, Senders] | None = None

    async def read(self, emails: Sequence[Email]) -> Outlook:
        """Return the outlook of these emails; nothing is looked up for emails that do not wait.

        It only colours the answer about an email that is accepted already, so no trouble here may hide that answer,
        and what was read a moment ago is good enough, but for what the account has just kept from leaving.
        """
        now = self._clock.now()
        zone = self._zone(now)
        waiting = {email.status for email in emails} & _WAITING
        if not waiting:
            return Outlook(zone=zone)
        account = await self._read_account(is_news=EmailStatus.DEFERRED in waiting)
        if account.is_silent(now):
            return Outlook(silence=account.message, senders=await self._read_senders(), zone=zone)
        if waiting == {EmailStatus.SENDING}:
            return Outlook(zone=zone)
        return Outlook(pause=_read_pause(account, now), senders=await self._read_senders(), zone=zone)

    async def _read_account(self, *, is_news: bool) -> AccountState:
        """Return the account's state; a working one if it cannot be read."""
        try:
            return await (self._account.state() if is_news else self._read_lately())
        except Exception:
            logger.warning("could not read the state of the SMTP account", exc_info=True)
            return AccountState()

    async def _read_lately(self) -> AccountState:
        now = time.monotonic()
        if self._seen is None or now > self._seen[0] + _A_MOMENT_SECONDS:
            self._seen = now, await self._account.state()
        return self._seen[1]

    async def _read_senders(self) -> Senders:
        if self.own is Senders.LASTING:
            return self.own
        now = time.monotonic()
        if self._senders is None or now > self._senders[0] + _SENDERS_SECONDS:
            try:
                self._senders = now, await self._find_senders()
            except Exception:
                logger.warning("could not read which workers run", exc_info=True)
                return self.own
        return self._senders[1]

    async def _find_senders(self) -> Senders:
        others = [
            worker
            for worker in await self._queue.workers(since=self._clock.now() - self._lease)
            if worker.name != self._worker and worker.identity in ("", self._identity)
        ]
        if any(not worker.is_temporary for worker in others):
            return Senders.LASTING
        return Senders.WITH_CLIENT if others else self.own


def _read_pause(account: AccountState, now: datetime) -> Pause | None:
    if account.paused_until is None or not account.is_paused(now):
        return None
    return Pause(
        until=account.paused_until,
        reason=account.message,
        fix=account.hint,
        needs_person=account.kind in _FOR_PERSONS,
    )
