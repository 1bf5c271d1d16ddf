"""Marks an email in the database before ``DATA``, and checks that the lease still holds."""

from __future__ import annotations

from dataclasses import replace

from outspool.domain.email import Email
from outspool.errors import LeaseLost
from outspool.ports.clock import Clock
from outspool.ports.queue import Lease, Queue
from outspool.services.delivery.timings import Timings


class Mark:
    """Commits that a message is about to be sent; from then on only the server's reply tells whether it was.

    A process can be suspended at any instruction, by SIGSTOP, a debugger or a closed laptop, and resume an hour later.
    By then its lease has run out, other workers have requeued its email (or set it ``unknown`` if it was marked), and
    the email may have been sent again. Three checks keep the resumed process from sending:

    1. Suspended before the mark's statement: the statement requires the claim's status and lease token. Whoever freed
       the email changed its status, and whoever claimed it since changed the token, so nothing matches and `LeaseLost`
       is raised. No clock is involved.
    2. The mark commits. It also renews the lease, to its full length from a moment before the statement began. Until
       that lease is over nobody may rescue the marked email.
    3. Suspended after the commit: the time since that moment is measured with a monotonic clock that also runs while
       the machine sleeps (`Clock.elapsed`). If half the lease is gone, `LeaseLost` is raised; the other half is a
       margin for the clocks of other machines. Nothing was sent, which only this worker knows, so it then removes the
       mark, if the token is still its own.

    What remains is a suspension between this check and the end of the message: microseconds and one round trip. No
    program can close that gap (RFC 1047): the email becomes ``unknown``, and only a person's `retry_email` sends it
    again.
    """

    def __init__(self, queue: Queue, email: Email, lease: Lease, *, clock: Clock, timings: Timings) -> None:
        """Prepare the mark; calling it commits it."""
        self._queue = queue
        self._email = email
        self._lease = lease
        self._clock = clock
        self._timings = timings
        self.is_made = False

    async def __call__(self) -> None:
        """Commit the mark. If it raises, nothing was sent and nothing may be sent.

        Raises `LeaseLost` when another worker may own the email, `QuotaReached`, and `StoreUnavailable` when the
        database did not answer.
        """
        began, now = self._clock.elapsed(), self._clock.now()
        renewed = replace(self._lease, until=now + self._timings.lease)
        if not await self._queue.mark(self._email.id, renewed, at=now, recipients=len(self._email.owed)):
            raise LeaseLost("Another worker may own this email by now.")
        self.is_made = True
        if self._clock.elapsed() - began > self._timings.lease.total_seconds() / 2:
            raise LeaseLost("This worker was stopped just before it would have sent the message; nothing was sent.")
