"""What every memory of abandoned calls promises."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from support.outbox_samples import NOW, Outlet

from outspool.adapters.sql.calls import SqlAbandonedCalls
from outspool.domain.principal import Scope

CALL = "a" * 64
ADA = Scope(owner="ada", identities=frozenset({"ada@example.com"}))
BEA = Scope(owner="bea", identities=frozenset({"ada@example.com"}))
SINCE = NOW - timedelta(minutes=10)


@pytest.fixture
def calls(box: Outlet) -> SqlAbandonedCalls:
    return SqlAbandonedCalls(box.database)


@pytest.fixture
def elsewhere(other: Outlet) -> SqlAbandonedCalls:
    return SqlAbandonedCalls(other.database)


async def test_a_call_is_taken_once_by_any_process(calls: SqlAbandonedCalls, elsewhere: SqlAbandonedCalls) -> None:
    ids = [uuid4(), uuid4()]
    await calls.remember(CALL, ids, ADA, at=NOW, since=SINCE)
    assert await elsewhere.list_recent(ADA, since=SINCE) == {CALL}
    assert await elsewhere.take(CALL, ADA, since=SINCE) == ids
    assert await calls.take(CALL, ADA, since=SINCE) == []
    assert await calls.list_recent(ADA, since=SINCE) == frozenset()


async def test_a_call_of_long_ago_is_forgotten(calls: SqlAbandonedCalls) -> None:
    await calls.remember(CALL, [uuid4()], ADA, at=SINCE - timedelta(seconds=1), since=SINCE - timedelta(minutes=10))
    assert await calls.list_recent(ADA, since=SINCE) == frozenset()
    assert await calls.take(CALL, ADA, since=SINCE) == []


async def test_a_call_abandoned_twice_is_remembered_by_its_latest(calls: SqlAbandonedCalls) -> None:
    first, second = uuid4(), uuid4()
    await calls.remember(CALL, [first], ADA, at=NOW, since=SINCE)
    await calls.remember(CALL, [second], ADA, at=NOW, since=SINCE)
    assert await calls.take(CALL, ADA, since=SINCE) == [second]


async def test_another_owner_neither_sees_nor_takes_a_call(calls: SqlAbandonedCalls) -> None:
    email_id = uuid4()
    await calls.remember(CALL, [email_id], ADA, at=NOW, since=SINCE)
    assert await calls.list_recent(BEA, since=SINCE) == frozenset()
    assert await calls.take(CALL, BEA, since=SINCE) == []
    assert await calls.take(CALL, ADA, since=SINCE) == [email_id]
