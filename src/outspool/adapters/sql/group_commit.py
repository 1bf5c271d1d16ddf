"""Group commit: requests that come while a transaction is under way share the next one, and its commit.

Sixteen connections that each mark an email then cost one statement and one commit instead of sixteen.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from outspool.adapters.sql.backend import Answer, BatchWork, Request, Work
from outspool.errors import StoreUnavailable

_BATCH_SIZE = 100


@dataclass(frozen=True, slots=True)
class _Job:
    work: BatchWork[Any, Any]
    request: Any
    answer: asyncio.Future[Any]


class GroupCommit:
    """Runs one transaction at a time, for everybody who waited for it."""

    def __init__(self, transact: Callable[[Work[Any]], Awaitable[Any]]) -> None:
        """`transact` does one work in one transaction. When it raises, nothing was done, or `StoreUnavailable` says."""
        self._transact = transact
        self._waiting: list[_Job] = []
        self.task: asyncio.Task[None] | None = None
        """What works through the requests while there are any; None while there are none."""

    async def run(self, work: BatchWork[Request, Answer], request: Request) -> Answer:
        """Return the answer of `work` to `request`. All requests that wait for the same work are one call of it.

        It goes on when the caller is canceled.
        """
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Job(work, request, answer))
        if self.task is None:
            self.task = asyncio.create_task(self._commit_waiting(), name="outspool-group-commit")
        return await answer

    async def _commit_waiting(self) -> None:
        try:
            while self._waiting:
                jobs, self._waiting = self._waiting[:_BATCH_SIZE], self._waiting[_BATCH_SIZE:]
                await self._commit(jobs)
        finally:
            self.task = None

    async def _commit(self, jobs: Sequence[_Job]) -> None:
        """Commit all at once. If one of them fails, commit each kind of work alone, and then each request."""
        kinds: dict[BatchWork[Any, Any], list[_Job]] = {}
        for job in jobs:
            kinds.setdefault(job.work, []).append(job)
        has_begun = False

        def run_kinds(connection: sa.Connection) -> list[tuple[_Job, Any]]:
            nonlocal has_begun
            has_begun = True
            return [
                pair
                for work, of_kind in kinds.items()
                for pair in zip(of_kind, work(connection, [job.request for job in of_kind]), strict=True)
            ]

        try:
            answers = await self._transact(run_kinds)
        except StoreUnavailable as error:
            # Without a database each of them would wait as long for the same answer, and a doubt is never repeated.
            if error.in_doubt or not has_begun or len(kinds) == 1:
                _fail(jobs, error)
            else:
                await self._commit_apart(kinds.values())
        except Exception as error:  # noqa: BLE001 - it is raised where the request was made
            if len(jobs) == 1:
                _fail(jobs, error)
            else:
                await self._commit_apart(kinds.values() if len(kinds) > 1 else ([job] for job in jobs))
        else:
            for job, answer in answers:
                if not job.answer.done():  # else its caller was canceled
                    job.answer.set_result(answer)

    async def _commit_apart(self, parts: Iterable[Sequence[_Job]]) -> None:
        for part in parts:
            await self._commit(part)


def _fail(jobs: Sequence[_Job], error: Exception) -> None:
    """Raise `error` in every caller; each has one of its own, as a traceback grows with each `raise`."""
    for job in jobs:
        if not job.answer.done():
            own = copy.copy(error) if len(jobs) > 1 else error
            own.__cause__ = error.__cause__
            job.answer.set_exception(own)
