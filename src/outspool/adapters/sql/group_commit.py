"""Group commit: requests that arrive during a transaction are executed together in the next one.

Sixteen connections that each mark an email then cost one statement and one commit instead of sixteen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from outspool.errors import StoreUnavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_MOST = 100


class GroupCommit(Generic[Asked, Answer]):
    """Turns a function over a batch of requests, in one transaction, into a function of one request.

    While a batch is being committed, new requests queue up; they form the next batch. So nobody waits for a batch to
    fill, a single request is executed at once, and under load the batch grows with the duration of a commit. If a batch
    fails because of one request, each is executed alone, so that only the failing one gets the error; if the database
    is unavailable, all get that error without another attempt.
    """

    def __init__(self, do_all: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]) -> None:
        """`do_all` is one transaction, returns results in the order of the requests, and does nothing if it raises."""
        self._do_all = do_all
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, asked: Asked) -> Answer:
        """Execute one request, together with others that arrive meanwhile; continues if the caller is canceled."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="outspool-together")
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                await self._do(batch)
        finally:
            self._task = None

    async def _do(self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._do_all([asked for asked, _ in batch])
        except Exception as error:  # noqa: BLE001 - it is raised in the callers
            if len(batch) == 1 or isinstance(error, StoreUnavailable):
                for _, answer in batch:
                    _settle(answer, error)
                return
            for one in batch:  # each alone, so that only the failing one gets the error
                await self._do([one])
        else:
            for (_, answer), result in zip(batch, answers, strict=True):
                if not answer.done():
                    answer.set_result(result)


def _settle(answer: asyncio.Future[Answer], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
