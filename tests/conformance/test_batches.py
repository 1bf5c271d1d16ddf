"""`EmailStore.add_all` on both databases: all emails, or none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from support.outbox_samples import EVERYTHING, NOW, Outlet, an_email, outlet

from outspool.domain.cap import HOUR, Cap
from outspool.domain.email import Email, Event
from outspool.domain.status import EmailStatus
from outspool.errors import IdempotencyConflict, InvalidArgument, RateLimited

S = EmailStatus


async def add_all(box: Outlet, emails: Sequence[Email]) -> list[Email]:
    """Add them together, each with the event of its acceptance."""
    return list(
        await box.store.add_all([(e, Event(at=e.created_at, status=e.status, code="accepted")) for e in emails])
    )


async def test_emails_that_are_added_together_come_back_whole_and_in_order(box: Outlet) -> None:
    emails = [an_email(f"r{n}@example.com", "all@example.com", tags=("news", f"n{n}")) for n in range(100)]
    assert await add_all(box, emails) == emails
    found = await box.store.get_all([email.id for email in reversed(emails)], EVERYTHING)
    assert list(found) == emails[::-1]
    shown = await box.store.get(emails[42].id, EVERYTHING)
    assert shown is not None
    assert [event.code for event in shown.events] == ["accepted"]
    assert len(await box.claim(limit=200)) == 100


async def test_of_a_batch_with_a_taken_key_nothing_is_stored_and_its_place_is_named(box: Outlet) -> None:
    await box.accept(an_email(idempotency_key="k2"))
    emails = [an_email(idempotency_key=f"k{n}", fingerprint="b" * 64) for n in range(4)]
    with pytest.raises(IdempotencyConflict, match=r"^idempotency_conflict: emails\[2\]: "):
        await add_all(box, emails)
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 1}


async def test_what_was_accepted_before_is_returned_beside_what_is_new(box: Outlet) -> None:
    known = await box.accept(an_email(idempotency_key="known"))
    new, again = an_email(), an_email(idempotency_key="known")
    assert [email.id for email in await add_all(box, [new, again])] == [new.id, known.id]
    assert [email.id for email in await add_all(box, [new, again])] == [new.id, known.id]
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 2}


async def test_one_key_twice_in_a_batch_is_one_email(box: Outlet) -> None:
    first, second = [an_email(idempotency_key="same") for _ in range(2)]
    stored = await add_all(box, [first, second])
    assert [email.id for email in stored] == [first.id, first.id]
    assert stored[1].recipients == first.recipients
    other = an_email(idempotency_key="other"), an_email(idempotency_key="other", fingerprint="b" * 64)
    with pytest.raises(IdempotencyConflict, match=r"emails\[1\]"):
        await add_all(box, other)
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 1}


async def test_the_hourly_cap_takes_a_whole_batch_or_nothing_of_it(database_url: str) -> None:
    async with outlet(database_url, rate=Cap(most=5, window=HOUR)) as box:
        await add_all(box, [an_email() for _ in range(3)])
        with pytest.raises(RateLimited) as reached:
            await add_all(box, [an_email() for _ in range(3)])
        assert reached.value.retry_at == NOW + HOUR
        with pytest.raises(InvalidArgument, match="6 new emails are more than the 5"):
            await add_all(box, [an_email() for _ in range(6)])
        assert await box.store.counts(EVERYTHING) == {S.QUEUED: 3}
        later = NOW + HOUR + timedelta(seconds=1)
        assert len(await add_all(box, [an_email(at=later) for _ in range(3)])) == 3


async def test_a_batch_that_was_accepted_before_needs_no_room(database_url: str) -> None:
    async with outlet(database_url, rate=Cap(most=2, window=HOUR)) as box:
        emails = [an_email(idempotency_key=f"k{n}") for n in range(2)]
        await add_all(box, emails)
        again = await add_all(box, [an_email(idempotency_key=f"k{n}") for n in range(2)])
        assert [email.id for email in again] == [email.id for email in emails]


async def test_racing_batches_with_the_same_keys_in_other_orders_store_each_once(box: Outlet, other: Outlet) -> None:
    keys = [f"k{n}" for n in range(20)]

    async def add(n: int) -> list[Email]:
        order = keys if n % 4 < 2 else keys[::-1]
        return await add_all((box, other)[n % 2], [an_email(idempotency_key=key) for key in order])

    async with asyncio.timeout(30):
        batches = await asyncio.gather(*(add(n) for n in range(8)))
    ids = [{email.idempotency_key: email.id for email in batch} for batch in batches]
    assert all(of_one == ids[0] for of_one in ids)
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 20}
