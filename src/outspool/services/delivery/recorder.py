"""Records the outcome of an attempt, however long the database is unavailable, because it is stored nowhere else."""

from __future__ import annotations

import asyncio
import logging

from outspool.domain.email import Email
from outspool.domain.principal import Scope
from outspool.domain.transition import Transition
from outspool.errors import StoreUnavailable
from outspool.ports.emails import EmailStore
from outspool.ports.queue import Lease
from outspool.services.delivery.timings import Timings

logger = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds between two attempts."""


class Recorder:
    """Records outcomes, each under its claim's lease."""

    def __init__(self, store: EmailStore, *, timings: Timings) -> None:
        """Write to `store`; `timings.last_words_seconds` limits how long after a stop."""
        self._store = store
        self._timings = timings

    async def record(self, email: Email, change: Transition, lease: Lease) -> None:
        """Record `change`, retrying until it is stored or `lease` no longer holds the email.

        Keep trying for `last_words_seconds` after cancellation, then log the outcome: it is recorded nowhere else.
        """
        recording = self._begin(email, change, lease)
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            await self._end(recording, email, change)
            raise

    async def record_last(self, email: Email, change: Transition, lease: Lease) -> None:
        """Record `change` within `last_words_seconds`, when the process is already stopping."""
        await self._end(self._begin(email, change, lease), email, change)

    def _begin(self, email: Email, change: Transition, lease: Lease) -> asyncio.Task[None]:
        return asyncio.create_task(self._persist(email, change, lease), name=f"record-{email.id}")

    async def _end(self, recording: asyncio.Task[None], email: Email, change: Transition) -> None:
        await asyncio.wait({recording}, timeout=self._timings.last_words_seconds)
        if not recording.done():
            recording.cancel()
            logger.error(
                "email %s: that it is %s (%s) could not be recorded before the stop",
                email.id,
                change.target,
                change.detail,
            )
        elif not recording.cancelled() and (error := recording.exception()) is not None:
            logger.error("the outcome of email %s was not recorded", email.id, exc_info=error)

    async def _persist(self, email: Email, change: Transition, lease: Lease) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                if not await self._store.record(email.id, change, Scope.everything(), lease=lease.token):
                    logger.warning("email %s is no longer ours: that it is %s is dropped", email.id, change.target)
                return
            except StoreUnavailable as error:
                if wait == _FIRST_WAIT:
                    logger.warning("the outcome of email %s waits for the database: %s", email.id, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
