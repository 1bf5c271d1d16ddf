"""Rate limits and quotas on both databases: exact, across processes, for every window."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from support.outbox_samples import EVERYTHING, NOW, a_lease, an_email, outlet

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.tables import UtcDateTime, metadata, readings
from outspool.domain.cap import DAY, HOUR, Cap
from outspool.errors import QuotaReached, RateLimited

FIVE_AN_HOUR = Cap(most=5, window=HOUR)
THREE_A_DAY = Cap(most=3, window=DAY)
MINUTE = timedelta(minutes=1)


async def test_one_email_too_many_is_refused_until_the_first_is_an_hour_old(database_url: str) -> None:
    async with outlet(database_url, rate=FIVE_AN_HOUR) as box:
        for minute in range(5):
            await box.accept(an_email(at=NOW + minute * MINUTE))
        with pytest.raises(RateLimited) as refused:
            await box.accept(an_email(at=NOW + 10 * MINUTE))
        assert refused.value.retry_after == 50 * 60
        assert refused.value.retry_at == NOW + HOUR
        assert "3000 s, at 2026-11-22T13:00:00Z" in str(refused.value)
        assert sum((await box.store.counts(EVERYTHING)).values()) == 5
        await box.accept(an_email(at=refused.value.retry_at))
        with pytest.raises(RateLimited):
            await box.accept(an_email(at=NOW + HOUR))


async def test_the_same_email_again_counts_once_and_is_answered_when_the_hour_is_full(database_url: str) -> None:
    async with outlet(database_url, rate=FIVE_AN_HOUR) as box:
        first = await box.accept(an_email(idempotency_key="k"))
        for _ in range(4):
            await box.accept(an_email(idempotency_key="k"))
        for _ in range(4):
            await box.accept(an_email())
        with pytest.raises(RateLimited):
            await box.accept(an_email())
        assert (await box.accept(an_email(idempotency_key="k"))).id == first.id


async def test_each_sender_has_an_hour_of_its_own(database_url: str) -> None:
    one = Cap(most=1, window=HOUR)
    async with outlet(database_url, rate=one) as box, outlet(database_url, identity="other", rate=one) as other:
        await box.accept(an_email())
        await other.accept(an_email())
        with pytest.raises(RateLimited):
            await other.accept(an_email())


async def test_a_limit_that_is_raised_counts_what_was_accepted_before(database_url: str) -> None:
    async with (
        outlet(database_url, rate=FIVE_AN_HOUR) as low,
        outlet(database_url, rate=Cap(most=7, window=HOUR)) as high,
    ):
        for _ in range(5):
            await low.accept(an_email())
        for _ in range(2):
            await high.accept(an_email())
        with pytest.raises(RateLimited):
            await high.accept(an_email())


async def test_a_clock_that_once_ran_ahead_blocks_nobody_for_longer_than_the_window(database_url: str) -> None:
    async with outlet(database_url, rate=FIVE_AN_HOUR) as box:
        for _ in range(5):
            await box.accept(an_email(at=NOW + 1000 * DAY))
        with pytest.raises(RateLimited) as refused:
            await box.accept(an_email(at=NOW))
        assert refused.value.retry_at == NOW + HOUR
        await box.accept(an_email(at=NOW + HOUR))


async def test_a_mark_beyond_the_daily_quota_is_not_made_and_says_when_there_is_room(database_url: str) -> None:
    async with outlet(database_url, quota=THREE_A_DAY) as box:
        emails = [await box.accept(an_email()) for _ in range(2)]
        lease = a_lease()
        await box.claim(lease=lease)
        assert (await box.queue.room(now=NOW)).recipients == 3
        assert await box.queue.mark(emails[0].id, lease, at=NOW, recipients=2)
        assert (await box.queue.room(now=NOW)).recipients == 1
        with pytest.raises(QuotaReached) as reached:
            await box.queue.mark(emails[1].id, lease, at=NOW + MINUTE / 10, recipients=2)
        assert reached.value.until == NOW + DAY
        assert await box.queue.mark(emails[1].id, lease, at=NOW + MINUTE / 10, recipients=1)
        room = await box.queue.room(now=NOW + MINUTE)
        assert room.recipients == 0
        assert room.full is not None
        assert room.full.until == NOW + DAY
        assert (await box.queue.room(now=NOW + DAY)).recipients == 2


async def test_the_quota_survives_a_restart_and_is_shared(database_url: str) -> None:
    async with outlet(database_url, quota=THREE_A_DAY) as box:
        email = await box.accept(an_email())
        lease = a_lease()
        await box.claim(lease=lease)
        await box.queue.mark(email.id, lease, at=NOW, recipients=3)
    async with outlet(database_url, quota=THREE_A_DAY) as again:
        assert (await again.queue.room(now=NOW + MINUTE)).full is not None


steps = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 4)), max_size=120)


@settings(deadline=None)
@given(steps=steps, most=st.integers(4, 12))
def test_no_stretch_of_time_ever_holds_more_and_no_refusal_is_needless(steps: list[tuple[int, int]], most: int) -> None:
    cap = Cap(most=most, window=HOUR)
    passed: list[tuple[int, int]] = []
    now = 0
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        for minutes, count in steps:
            now += minutes
            recent = sum(n for at, n in passed if at > now - 60)
            assert sql_meter.count_room(connection, "m", cap, now=NOW + now * MINUTE)[0] == most - recent
            with connection.begin_nested() as attempt:
                try:
                    sql_meter.take(connection, "m", count, cap, now=NOW + now * MINUTE)
                except sql_meter.CapReached as reached:
                    attempt.rollback()
                    assert recent + count > most
                    free_at = min(
                        at + 60 for at, _ in passed if _room(passed, at + 60, most) >= count and at + 60 > now
                    )
                    assert reached.at == NOW + free_at * MINUTE
                else:
                    passed.append((now, count))
                    assert recent + count <= most
        kept = connection.scalar(sa.select(sa.func.count()).select_from(readings))
        assert kept is not None
        assert kept <= len(passed)
    engine.dispose()


def _room(passed: list[tuple[int, int]], at: int, most: int) -> int:
    return most - sum(n for when, n in passed if when > at - 60)


def test_a_meter_forgets_what_no_cap_can_ask_for_again() -> None:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        for minute in range(500):
            sql_meter.take(connection, "m", 1, Cap(most=100, window=HOUR), now=NOW + minute * MINUTE)
        oldest, kept = connection.execute(
            sa.select(sa.func.min(readings.c.at, type_=UtcDateTime), sa.func.count())
        ).one()
        assert kept < 200
        assert oldest > NOW + 300 * MINUTE
    engine.dispose()
