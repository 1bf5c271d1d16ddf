"""Limits how many emails are in delivery at a time: one at first, one more with each success."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections.abc import Callable

_RETRY_SECONDS = 1800.0
"""After a connection limit was met, one more connection is tried after this long."""

_OF_NO_ROUND = -1


class ConcurrencyLimiter:
    """Limits concurrent deliveries of one process; the lowest `order` goes first, then first come first served.

    The limit starts at 1 and grows by 1 with each success, like TCP's slow start: nobody knows how much the server
    accepts, above all after trouble, and other processes start at the same time. A limit that the server enforced by
    rejecting a connection is not tried again for half an hour.

    It is the only limit: a transport opens a connection for each delivery that has none to reuse.
    """

    def __init__(self, connections: int, *, elapsed: Callable[[], float]) -> None:
        """Allow at most `connections` deliveries at a time, probes included; `elapsed` is `Clock.elapsed`.

        Raises `ValueError` when `connections` is below 1.
        """
        if connections < 1:
            raise ValueError("Deliveries need at least one connection.")
        self._connections = connections
        self._elapsed = elapsed
        self._ceiling = connections
        self._narrowed_at = 0.0
        self._open = 1
        self._round = 0
        self._taken = 0  # since the last restart; deliveries that hang from before do not count
        self._at_work = 0  # of all of them, and probes
        self._has_turned_away = False
        self._waiting: list[tuple[float, int, asyncio.Future[int | None]]] = []
        self._count = itertools.count()
        self._is_closed = False

    async def acquire(self, order: float = 0.0) -> int | None:
        """Wait for a slot; return a token for `release`, or None after `close` or `send_away`.

        A lower `order` goes first.
        """
        if self._is_closed:
            return None
        turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        bisect.insort(self._waiting, (order, next(self._count), turn))
        self._admit()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and (taken := turn.result()) is not None:
                self.release(taken)
            raise

    def acquire_for_probe(self) -> int | None:
        """Take a slot at once, past the limit and the queue; None while every connection is in use."""
        if self._is_closed or self.is_full:
            return None
        self._at_work += 1
        return _OF_NO_ROUND

    def send_away(self, later_than: float) -> int:
        """Return None to every waiter whose order is above `later_than`; return how many there were."""
        first = bisect.bisect_right(self._waiting, later_than, key=lambda one: one[0])
        leave = self._waiting[first:]
        del self._waiting[first:]
        for _, _, turn in leave:
            if not turn.done():
                turn.set_result(None)
        return len(leave)

    def release(self, turn: int) -> None:
        """Free the slot that `acquire` returned."""
        self._at_work -= 1
        if turn == self._round:
            self._taken -= 1
        self._admit()

    def raise_limit(self) -> None:
        """Raise the limit by one after a success. If a connection was rejected before, keep the limit as it is now."""
        if self._has_turned_away:
            self._has_turned_away = False
            self.lower_limit(self._open)
        elif self._ceiling < self._connections and self._elapsed() - self._narrowed_at >= _RETRY_SECONDS:
            self._ceiling += 1
            self._narrowed_at = self._elapsed()
        self._open = min(self._open + 1, self._ceiling)
        self._admit()

    def restart(self) -> None:
        """Start again with a limit of one, after account trouble."""
        self._open = 1
        self._round += 1
        self._taken = 0
        self._has_turned_away = False

    def lower_limit(self, to: int) -> None:
        """Allow at most `to` at a time, but at least one: the server accepts no more."""
        self._ceiling = max(1, min(to, self._ceiling))
        self._narrowed_at = self._elapsed()
        self._open = min(self._open, self._ceiling)

    def reject_one(self) -> bool:
        """Lower the limit by one, because the server rejected a connection; False if only one is left.

        If the server accepts the others, the limit was one too high. If not, this is called again until one is left.
        """
        if self._open <= 1 or self._taken <= 1:
            return False
        self._open -= 1
        self._has_turned_away = True
        return True

    @property
    def is_full(self) -> bool:
        """True if every connection is in use, also by deliveries that hang since before a trouble."""
        return self._at_work >= self._connections

    @property
    def waiting(self) -> int:
        """Number of waiters."""
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """The highest limit that may be reached now."""
        return self._ceiling

    def close(self) -> None:
        """Grant no more slots; waiters get None at once."""
        self._is_closed = True
        self._admit()

    def _admit(self) -> None:
        while self._waiting and (self._is_closed or (self._taken < self._open and not self.is_full)):
            _, _, turn = self._waiting.pop(0)
            if turn.done():
                continue  # canceled meanwhile
            if self._is_closed:
                turn.set_result(None)
            else:
                self._taken += 1
                self._at_work += 1
                turn.set_result(self._round)
