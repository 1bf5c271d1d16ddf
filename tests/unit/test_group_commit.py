"""One transaction for everybody who waits: who shares it, and who suffers when one request fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from outspool.adapters.sql.backend import Work
from outspool.adapters.sql.group_commit import GroupCommit
from outspool.errors import StoreUnavailable


class Ledger:
    """Transactions on one list of what was committed; `failure` is what the database answers instead."""

    def __init__(self) -> None:
        self.engine = sa.create_engine("sqlite://")
        self.group = GroupCommit(self.transact)
        self.commits: list[list[str]] = []
        self.failure: StoreUnavailable | None = None
        self.begins = True
        self._pending: list[str] = []

    async def transact(self, work: Work[Any]) -> Any:
        await asyncio.sleep(0)
        self._pending = []
        failure = self.failure
        if failure is not None and not self.begins:
            raise failure
        with self.engine.connect() as connection:
            result = work(connection)
        if failure is not None:
            raise failure
        self.commits.append(self._pending)
        return result

    def shout(self, _connection: sa.Connection, words: Sequence[str]) -> list[str]:
        """Note words as one call; refuse a bad one."""
        if "bad" in words:
            raise ValueError("bad")
        self._pending.append("shout " + " ".join(words))
        return [word.upper() for word in words]

    def whisper(self, _connection: sa.Connection, words: Sequence[str]) -> list[str]:
        """Note words as another kind of work; refuse a bad one."""
        if "broken" in words:
            raise StoreUnavailable("This table is damaged.")
        self._pending.append("whisper " + " ".join(words))
        return [word.lower() for word in words]

    async def all_of(self, *calls: tuple[Any, str]) -> list[Any]:
        return await asyncio.gather(*(self.group.run(work, word) for work, word in calls), return_exceptions=True)


async def test_requests_that_wait_for_one_work_are_one_call_of_it_in_one_transaction() -> None:
    ledger = Ledger()
    answers = await ledger.all_of((ledger.shout, "a"), (ledger.whisper, "B"), (ledger.shout, "c"))
    assert answers == ["A", "b", "C"]
    assert ledger.commits == [["shout a c", "whisper B"]]
    assert ledger.group.task is None


async def test_what_comes_while_a_transaction_is_under_way_shares_the_next() -> None:
    ledger = Ledger()
    first = asyncio.create_task(ledger.group.run(ledger.shout, "a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.gather(first, ledger.group.run(ledger.shout, "b"), ledger.group.run(ledger.shout, "c"))
    assert ledger.commits == [["shout a"], ["shout b c"]]


async def test_no_request_suffers_for_another_nor_does_another_kind_of_work_lose_its_group() -> None:
    ledger = Ledger()
    good, bad, other, another = await ledger.all_of(
        (ledger.shout, "good"), (ledger.shout, "bad"), (ledger.whisper, "X"), (ledger.whisper, "Y")
    )
    assert (good, other, another) == ("GOOD", "x", "y")
    assert isinstance(bad, ValueError)
    assert ledger.commits == [["shout good"], ["whisper X Y"]]


async def test_what_a_damaged_table_fails_leaves_the_other_kinds_of_work_alone() -> None:
    ledger = Ledger()
    shouted, broken, also = await ledger.all_of((ledger.shout, "a"), (ledger.whisper, "broken"), (ledger.whisper, "b"))
    assert shouted == "A"
    assert isinstance(broken, StoreUnavailable)
    assert isinstance(also, StoreUnavailable)


@pytest.mark.parametrize(("begins", "in_doubt"), [(False, False), (True, True)])
async def test_without_a_database_everybody_is_told_at_once_by_an_error_of_his_own(
    begins: bool, in_doubt: bool
) -> None:
    ledger = Ledger()
    ledger.failure, ledger.begins = StoreUnavailable("It is away.", "Wait.", in_doubt=in_doubt), begins
    errors = await ledger.all_of((ledger.shout, "a"), (ledger.shout, "b"), (ledger.whisper, "c"))
    assert len({id(error) for error in errors}) == 3
    assert [(type(e), str(e), e.in_doubt) for e in errors] == [
        (StoreUnavailable, "store_unavailable: It is away. Wait.", in_doubt)
    ] * 3
    assert ledger.commits == []


async def test_what_a_canceled_caller_asked_for_is_done_all_the_same() -> None:
    ledger = Ledger()
    call = asyncio.create_task(ledger.group.run(ledger.shout, "a"))
    await asyncio.sleep(0)
    call.cancel()
    assert await ledger.group.run(ledger.shout, "b") == "B"
    assert ledger.commits == [["shout a b"]]
