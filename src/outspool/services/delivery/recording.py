"""Writes down what delivery must not lose: the mark before a message leaves, and what came of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from outspool.domain.email import Email
from outspool.domain.principal import Scope
from outspool.domain.transition import Transition
from outspool.errors import LeaseLost, StoreUnavailable
from outspool.ports.clock import Clock
from outspool.ports.emails import EmailStore
from outspool.ports.queue import Lease, Queue
from outspool.services.delivery.timings import Timings

logger = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
"""Seconds between two attempts to record an outcome."""


class Mark:
    """The last gate before ``DATA``: commits, when called, that a message is about to leave.

    From then on only a reply can say where it is.

    A process can be stopped at any instruction, by SIGSTOP, by a debugger, by the lid of a laptop, and go on an hour
    later as if nothing had happened. Meanwhile its lease has run out: others have set what it held ``queued``, or
    ``unknown`` where it was marked, and somebody may have had that sent again. So that it sends nothing then:

    1. Stopped before the mark's statement reaches the database: the statement asks for status and token. Whoever
       freed the email changed the status, and whoever claimed it after that the token, which no two claims share.
       `LeaseLost`; it would not matter how wrong any clock is.
    2. The mark commits. It renews the lease as well, to a whole one from a moment before it was asked for. So until
       that much time has passed since that moment nobody may take the marked email for a dead worker's.
    3. Stopped after that: when the mark returns, the time since that moment is read from a clock that nobody sets and
       that goes on while the machine sleeps (`Clock.elapsed`). Is half the lease gone, the message is not sent
       (`LeaseLost`); the other half is for the clocks of other machines to be wrong by. Nothing has left, which this
       worker alone knows: its record takes back mark and doubt, if nobody acted on them meanwhile (the token again).

    What remains is a stop between that look and the end of the message, microseconds and one round trip to the
    server. No program can close that: it is the doubt of RFC 1047, the email is ``unknown``, and only a person's
    `retry_email` sends it again.
    """

    def __init__(self, queue: Queue, email: Email, lease: Lease, *, clock: Clock, timings: Timings) -> None:
        """Mark nothing yet."""
        self._queue = queue
        self._email = email
        self._lease = lease
        self._clock = clock
        self._timings = timings
        self.is_made = False

    async def __call__(self) -> None:
        """Raise `LeaseLost` when the message must not be sent, `QuotaReached`, or `StoreUnavailable`: nobody can tell.

        It raises before anything is sent, always.
        """
        began, now = self._clock.elapsed(), self._clock.now()
        renewed = replace(self._lease, until=now + self._timings.lease)
        if not await self._queue.mark(self._email.id, renewed, at=now, recipients=len(self._email.owed)):
            raise LeaseLost("Another worker may own this email by now.")
        self.is_made = True
        if self._clock.elapsed() - began > self._timings.lease.total_seconds() / 2:
            raise LeaseLost("This worker was stopped just before it would have sent the message; nothing was sent.")


class Recorder:
    """Records outcomes, each under the lease of its claim, however long the database is away.

    What the server said is known nowhere else.
    """

    def __init__(self, store: EmailStore, *, timings: Timings) -> None:
        """Write to `store`; `timings` says how long after a stop."""
        self._store = store
        self._timings = timings

    async def record(self, email: Email, change: Transition, lease: Lease) -> None:
        """Return when `change` is recorded, or is not ours to record any more.

        Canceled, it keeps trying for `Timings.last_words_seconds`, then logs the outcome: it is recorded nowhere else.
        """
        recording = self._begin(email, change, lease)
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            await self._end(recording, email, change)
            raise

    async def record_last(self, email: Email, change: Transition, lease: Lease) -> None:
        """Record within `Timings.last_words_seconds`: the stop has come already."""
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
