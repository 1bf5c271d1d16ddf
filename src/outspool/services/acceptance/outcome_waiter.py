"""Where callers wait for the outcome of their emails: one question to the store for all of them, however many."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from uuid import UUID

from outspool.domain.principal import Scope
from outspool.errors import OutspoolError
from outspool.ports.emails import Changes, EmailStore

logger = logging.getLogger(__name__)

_SHORTEST_SECONDS = 0.02
_POLL_SECONDS = 0.5
"""How often to look, should a notice from another process be missed; and how often at most."""


class OutcomeWaiter:
    """Lets any number of callers wait, at the cost of one."""

    def __init__(self, store: EmailStore, changes: Changes) -> None:
        """Look into `store` when `changes` says so."""
        self._store = store
        self._changes = changes
        self._waited_for: Counter[UUID] = Counter()
        self._news = asyncio.Condition()
        self._wait_for_outcome: set[UUID] = set()
        self._watch: asyncio.Task[None] | None = None

    async def find_settled(self, email_id: UUID, *, within: float) -> bool:
        """Wait until something has come of the email; False when nothing has after `within` seconds."""
        self._waited_for[email_id] += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._look(), name="waiting-room")
        try:
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(lambda: email_id in self._wait_for_outcome)
        except TimeoutError:
            return False
        finally:
            self._leave(email_id)
        return True

    def _leave(self, email_id: UUID) -> None:
        self._waited_for[email_id] -= 1
        if self._waited_for[email_id] <= 0:
            del self._waited_for[email_id]
            self._wait_for_outcome.discard(email_id)

    async def _look(self) -> None:
        """Ask the store about all that is waited for, after each change and now and then, while anybody waits."""
        changed = asyncio.Event()
        async with self._changes.watch(changed.set):
            try:
                while self._waited_for:
                    changed.clear()
                    await self._tell(await self._settled_now())
                    await asyncio.sleep(_SHORTEST_SECONDS)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), _POLL_SECONDS)
            finally:
                self._watch = None  # before the watch closes: who comes now must begin another

    async def _settled_now(self) -> frozenset[UUID]:
        # For all callers at once: each waits only for emails that its own scope has shown it.
        try:
            return await self._store.find_settled(tuple(self._waited_for), Scope.everything())
        except OutspoolError as error:
            logger.debug("waiting for the database: %s", error)
            return frozenset()

    async def _tell(self, settled: frozenset[UUID]) -> None:
        if settled:
            async with self._news:
                self._wait_for_outcome |= settled & self._waited_for.keys()
                self._news.notify_all()
