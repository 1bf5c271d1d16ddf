"""Limits how many emails are on the wire at a time: one at first, one more with each that the server serves."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections.abc import Callable

_RETRY_SECONDS = 1800.0
"""After this one more connection is tried than the server last had room for."""

_OF_NO_ROUND = -1


class ConcurrencyLimiter:
    """Turns at the connections of one process, by their order, and of one order in which they were asked for.

    It starts slowly, like TCP: nobody knows how much an account bears that was in trouble a moment ago, and other
    processes begin at the same instant. Where the server said that it has no room for more, it is not asked for as
    many again for half an hour.

    It is the only limit: a transport opens a connection for each delivery that has none to reuse.
    """

    def __init__(self, connections: int, *, elapsed: Callable[[], float]) -> None:
        """Let at most so many go at a time, probes and what hangs included; `elapsed` is the clock's.

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
        self._taken = 0  # in this round; what hangs since before a trouble takes nobody's turn, but its connection
        self._at_work = 0  # of every round, and probes
        self._has_turned_away = False
        self._waiting: list[tuple[float, int, asyncio.Future[int | None]]] = []
        self._count = itertools.count()
        self._is_closed = False

    async def acquire(self, order: float = 0.0) -> int | None:
        """Wait for a turn, and return what `release` wants; None when there will be none, or others come first.

        Whoever has a lower `order` goes first.
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
        """Take a turn at once, whatever the limit and whoever waits; None while every connection is in use."""
        if self._is_closed or self.is_full:
            return None
        self._at_work += 1
        return _OF_NO_ROUND

    def send_away(self, later_than: float) -> int:
        """Let those who wait with a higher order than `later_than` wait no more; return how many they were."""
        first = bisect.bisect_right(self._waiting, later_than, key=lambda one: one[0])
        leave = self._waiting[first:]
        del self._waiting[first:]
        for _, _, turn in leave:
            if not turn.done():
                turn.set_result(None)
        return len(leave)

    def release(self, turn: int) -> None:
        """End a turn."""
        self._at_work -= 1
        if turn == self._round:
            self._taken -= 1
        self._admit()

    def raise_limit(self) -> None:
        """Let one more go at a time, after the server served an email; no more if it turned somebody away before."""
        if self._has_turned_away:
            self._has_turned_away = False
            self.lower_limit(self._open)
        elif self._ceiling < self._connections and self._elapsed() - self._narrowed_at >= _RETRY_SECONDS:
            self._ceiling += 1
            self._narrowed_at = self._elapsed()
        self._open = min(self._open + 1, self._ceiling)
        self._admit()

    def restart(self) -> None:
        """Begin again with one, after trouble of the account."""
        self._open = 1
        self._round += 1
        self._taken = 0
        self._has_turned_away = False

    def lower_limit(self, to: int) -> None:
        """Let no more than `to`, or one, go at a time: the server has no room for as many as there were."""
        self._ceiling = max(1, min(to, self._ceiling))
        self._narrowed_at = self._elapsed()
        self._open = min(self._open, self._ceiling)

    def reject_one(self) -> bool:
        """Let one less go at a time, as the server turned a connection away; False when there was but the one.

        If it serves another now, that was one too many. If it does not, all will be turned away, down to the last.
        """
        if self._open <= 1 or self._taken <= 1:
            return False
        self._open -= 1
        self._has_turned_away = True
        return True

    @property
    def is_full(self) -> bool:
        """Whether every connection is in use, also by what hangs since before a trouble."""
        return self._at_work >= self._connections

    @property
    def waiting(self) -> int:
        """How many wait for a turn."""
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """How many may go at a time at best, as things stand."""
        return self._ceiling

    def close(self) -> None:
        """Give no more turns; those who wait are told at once."""
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
