"""Waits for the outcomes of emails, with one query for all waiting callers."""

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

_MIN_INTERVAL_SECONDS = 0.02
_POLL_SECONDS = 0.5
"""Longest interval between two queries, in case a notification of another process is lost."""


class OutcomeWaiter:
    """Lets any number of callers wait at the cost of one."""

    def __init__(self, store: EmailStore, changes: Changes) -> None:
        """Query `store` after each of `changes`."""
        self._store = store
        self._changes = changes
        self._waiter_counts: Counter[UUID] = Counter()
        self._has_news = asyncio.Condition()
        self._settled: set[UUID] = set()
        self._watch: asyncio.Task[None] | None = None

    async def find_settled(self, email_id: UUID, *, max_wait: float) -> bool:
        """Wait for an outcome of the email; False if there is none after `max_wait` seconds."""
        self._waiter_counts[email_id] += 1
        if self._watch is None:
            self._watch = asyncio.create_task(self._poll(), name="waiting-room")
        try:
            async with asyncio.timeout(max_wait), self._has_news:
                await self._has_news.wait_for(lambda: email_id in self._settled)
        except TimeoutError:
            return False
        finally:
            self._leave(email_id)
        return True

    def _leave(self, email_id: UUID) -> None:
        self._waiter_counts[email_id] -= 1
        if self._waiter_counts[email_id] <= 0:
            del self._waiter_counts[email_id]
            self._settled.discard(email_id)

    async def _poll(self) -> None:
        """While anybody waits, query the store about all awaited emails, after each change and periodically."""
        changed = asyncio.Event()
        async with self._changes.watch(changed.set):
            try:
                while self._waiter_counts:
                    changed.clear()
                    await self._publish(await self._find_settled())
                    await asyncio.sleep(_MIN_INTERVAL_SECONDS)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), _POLL_SECONDS)
            finally:
                self._watch = None  # before the watch closes, so that a new caller starts another

    async def _find_settled(self) -> frozenset[UUID]:
        # One query for all callers, without scope: each caller waits only for emails that it has already seen.
        try:
            return await self._store.find_settled(tuple(self._waiter_counts), Scope.everything())
        except OutspoolError as error:
            logger.debug("waiting for the database: %s", error)
            return frozenset()

    async def _publish(self, settled: frozenset[UUID]) -> None:
        if settled:
            async with self._has_news:
                self._settled |= settled & self._waiter_counts.keys()
                self._has_news.notify_all()
