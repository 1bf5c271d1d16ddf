"""Events are read by cursor, and none is missed, whatever the order of commits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from support.outbox_samples import NOW, Outlet, an_email, outlet

from outspool.adapters.sql.events import EventCursor, SqlEventFeed, add_events
from outspool.domain.email import Event
from outspool.domain.principal import Actor, Role
from outspool.domain.status import EmailStatus


@pytest.fixture
async def box(database_url: str) -> AsyncIterator[Outlet]:
    async with outlet(database_url) as opened:
        yield opened


async def read_all(feed: SqlEventFeed, after: EventCursor) -> tuple[EventCursor, list[str]]:
    details: list[str] = []
    while found := await feed.read(after, limit=7):
        details += [event.detail for _, _, event in found]
        after = found[-1][0]
    return after, details


async def test_events_come_in_order_once_each_in_pages(box: Outlet) -> None:
    feed = SqlEventFeed(box.database)
    emails = [await box.accept(an_email()) for _ in range(20)]
    found, after = [], EventCursor()
    while page := await feed.read(after, limit=6):
        assert len(page) <= 6
        found += [(email_id, event) for _, email_id, event in page]
        after = page[-1][0]
    assert [email_id for email_id, _ in found] == [email.id for email in emails]
    assert {event.code for _, event in found} == {"accepted"}
    last = await box.accept(an_email())
    assert [email_id for _, email_id, _ in await feed.read(after, limit=6)] == [last.id]


async def test_an_event_says_who_caused_it(box: Outlet) -> None:
    email = await box.accept(an_email())
    actor = Actor(user="ada", agent="claude-ai", role=Role.OPERATOR)
    event = Event(at=NOW, status=email.status, code="canceled", actor=actor)
    await box.database.write(lambda connection: add_events(connection, [(email.id, event)]))
    assert (await SqlEventFeed(box.database).read(EventCursor(), limit=9))[-1][2] == event


async def test_a_commit_that_comes_late_is_not_skipped(postgres_url: str) -> None:
    """Transaction 1 takes its event's id, transaction 2 the next one and commits first: a cursor of ids skips 1."""
    async with outlet(postgres_url) as box:
        feed = SqlEventFeed(box.database)
        email = await box.accept(an_email())
        after, _ = await read_all(feed, EventCursor())
        begun, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        async def write_slowly() -> None:
            engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"))
            async with engine.begin() as connection:
                await connection.run_sync(add_events, [(email.id, _event("slow"))])
                begun.set()
                await go_on.wait()
            await engine.dispose()

        slow = loop.create_task(write_slowly())
        await begun.wait()
        await box.database.write(lambda connection: add_events(connection, [(email.id, _event("quick"))]))
        after, early = await read_all(feed, after)
        go_on.set()
        await slow
        _, late = await read_all(feed, after)
        assert early + late == ["slow", "quick"]


async def test_many_writers_and_a_reader_that_follows_them_miss_and_repeat_nothing(
    box: Outlet, database_url: str
) -> None:
    chance = random.Random(7)
    email = await box.accept(an_email())
    feed, seen = SqlEventFeed(box.database), list[str]()
    after, _ = await read_all(feed, EventCursor())
    count = 60

    async def write(numbers: range) -> None:
        async with outlet(database_url) as writer:
            for number in numbers:
                new = [(email.id, _event(str(number)))]
                await writer.database.write(partial(add_events, new=new))
                await asyncio.sleep(chance.random() / 500)

    writers = [asyncio.create_task(write(range(n, count, 4))) for n in range(4)]
    async with asyncio.timeout(30):
        while len(seen) < count:
            after, more = await read_all(feed, after)
            seen += more
    await asyncio.gather(*writers)
    assert sorted(seen, key=int) == [str(n) for n in range(count)]


async def test_reading_on_reads_an_index_and_no_table(postgres_url: str) -> None:
    async with outlet(postgres_url) as box:
        email = await box.accept(an_email())
        many = [(email.id, _event(str(n))) for n in range(3000)]
        await box.database.write(partial(add_events, new=many))
        await box.database.read(lambda connection: connection.execute(sa.text("ANALYZE events")))
        seen = await SqlEventFeed(box.database).read(EventCursor(), limit=2900)
        reached = {"xact": str(seen[-1][0].transaction), "event": seen[-1][0].event}
        explain = sa.text(
            "EXPLAIN SELECT * FROM events WHERE xact < pg_snapshot_xmin(pg_current_snapshot()) "
            "AND (xact, id) > (CAST(CAST(:xact AS text) AS xid8), CAST(:event AS bigint)) "
            "ORDER BY xact NULLS FIRST, id LIMIT 10"
        )
        plan = await box.database.read(lambda connection: "\n".join(connection.scalars(explain, reached)))
        assert "events_xact" in plan
        assert "Sort" not in plan


def _event(detail: str) -> Event:
    return Event(at=NOW, status=EmailStatus.QUEUED, code="test", detail=detail)
