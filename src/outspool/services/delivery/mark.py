"""The last gate before ``DATA``: the mark in the database, and the proof that it still means something."""

from __future__ import annotations

from dataclasses import replace

from outspool.domain.email import Email
from outspool.errors import LeaseLost
from outspool.ports.clock import Clock
from outspool.ports.queue import Lease, Queue
from outspool.services.delivery.timings import Timings


class Mark:
    """Commits, when called, that a message is about to leave; from then on only a reply can say where it is.

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
