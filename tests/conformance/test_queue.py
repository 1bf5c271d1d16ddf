"""`Queue` and `Account` on both databases, as dispatchers share them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import asyncpg
from support.outbox_samples import EVERYTHING, NOW, Outlet, a_lease, an_email, as_sent, outlet
from support.postgres import PostgresServer

from outspool.domain.email import Priority
from outspool.domain.fault import Trouble
from outspool.domain.settlement import defer_for_account
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import TroubleKind

S = EmailStatus
SOON = NOW + timedelta(seconds=10)
AFTER_LEASE = NOW + timedelta(seconds=31)


async def test_what_is_due_leaves_by_priority_then_by_time(box: Outlet) -> None:
    due = NOW - timedelta(minutes=1)
    low = await box.accept(an_email(priority=Priority.LOW, due=due - timedelta(minutes=30)))
    late = await box.accept(an_email(due=due))
    later = await box.accept(an_email(due=due + timedelta(seconds=1)))
    high = await box.accept(an_email(priority=Priority.HIGH, due=due + timedelta(seconds=2)))
    await box.accept(an_email(due=NOW + timedelta(seconds=1)))
    claimed = await box.claim()
    assert [email.id for email in claimed] == [high.id, late.id, later.id, low.id]
    assert {email.status for email in claimed} == {S.SENDING}


async def test_what_is_low_waits_an_hour_behind_the_rest_and_not_for_ever(box: Outlet) -> None:
    low = await box.accept(an_email(priority=Priority.LOW, due=NOW - timedelta(hours=1)))
    normal = [await box.accept(an_email(due=NOW - timedelta(seconds=seconds))) for seconds in (1, 0, -1)]
    first, second, third = normal
    assert [email.id for email in await box.claim(limit=1)] == [first.id]
    assert [email.id for email in await box.claim(limit=1)] == [low.id]
    assert [email.id for email in await box.claim(at=NOW + timedelta(seconds=1))] == [second.id, third.id]


async def test_what_is_high_leaves_before_all_that_has_waited_less_than_a_day(box: Outlet) -> None:
    ages = timedelta(hours=25), timedelta(hours=23)
    oldest, old = [await box.accept(an_email(due=NOW - age)) for age in ages]
    high = await box.accept(an_email(priority=Priority.HIGH, due=NOW))
    assert [email.id for email in await box.claim(limit=2)] == [oldest.id, high.id]
    assert [email.id for email in await box.claim(limit=2)] == [old.id]


async def test_a_claim_of_few_takes_the_first_of_all_and_leaves_the_rest_free(box: Outlet, other: Outlet) -> None:
    due = {p: [await box.accept(an_email(priority=p)) for _ in range(4)] for p in Priority}
    assert [email.id for email in await box.claim(limit=2)] == [email.id for email in due[Priority.HIGH][:2]]
    rest = [email.id for p in (Priority.HIGH, Priority.NORMAL, Priority.LOW) for email in due[p]][2:]
    assert [email.id for email in await other.claim(limit=20)] == rest


async def test_no_email_is_claimed_twice_by_racing_workers(box: Outlet, other: Outlet) -> None:
    for _ in range(60):
        await box.accept(an_email())
    batches = await asyncio.gather(*((box, other)[n % 2].claim(limit=7) for n in range(20)))
    claimed = [email.id for batch in batches for email in batch]
    assert len(claimed) == len(set(claimed)) == 60


async def test_a_mark_needs_a_lease_that_holds(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=lease)
    assert not await box.queue.mark(email.id, a_lease(), at=NOW, recipients=1)
    assert not await box.queue.mark(email.id, lease, at=AFTER_LEASE, recipients=1)
    assert await box.queue.mark(email.id, lease, at=SOON, recipients=1)


async def test_a_heartbeat_keeps_a_lease(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=lease)
    until = AFTER_LEASE + timedelta(seconds=30)
    await box.queue.heartbeat([lease.token], until=until, worker="w1", at=SOON)
    assert await box.queue.rescue(now=AFTER_LEASE, resend_marked=False) == 0
    assert await box.queue.mark(email.id, lease, at=AFTER_LEASE, recipients=1)


async def test_workers_that_beat_are_seen_while_they_do(box: Outlet) -> None:
    await box.queue.heartbeat([], until=NOW, worker="w1", at=NOW)
    await box.queue.heartbeat([], until=SOON, worker="w1", at=SOON)
    await box.queue.heartbeat([], until=NOW, worker="w0", at=NOW)
    assert [w.name for w in await box.queue.workers(since=NOW)] == ["w0", "w1"]
    assert [(w.name, w.seen_at) for w in await box.queue.workers(since=SOON)] == [("w1", SOON)]


async def test_the_dead_workers_unmarked_email_is_due_again_and_its_marked_one_in_doubt(box: Outlet) -> None:
    lease = a_lease()
    unmarked = await box.accept(an_email())
    marked = await box.accept(an_email("a@example.com", "b@example.com"))
    await box.claim(lease=lease)
    assert await box.queue.mark(marked.id, lease, at=SOON, recipients=1)
    assert await box.queue.rescue(now=SOON, resend_marked=False) == 0
    assert await box.queue.rescue(now=AFTER_LEASE, resend_marked=False) == 2
    freed, doubtful = await box.store.get(unmarked.id, EVERYTHING), await box.store.get(marked.id, EVERYTHING)
    assert freed is not None
    assert doubtful is not None
    assert (freed.status, freed.lease) == (S.QUEUED, None)
    assert doubtful.status is S.UNKNOWN
    assert {r.status for r in doubtful.recipients} == {RecipientStatus.UNKNOWN}
    assert doubtful.problem is not None
    assert [event.code for event in doubtful.events] == ["accepted", "claimed", "worker_lost"]


async def test_a_row_that_its_stopped_worker_still_writes_does_not_keep_the_others_from_rescue(
    own_postgres: PostgresServer,
) -> None:
    url = own_postgres.url()
    async with outlet(url) as box, AsyncExitStack() as stack:
        emails = [await box.accept(an_email()) for _ in range(3)]
        await box.claim()
        stopped = await asyncpg.connect(url)
        stack.push_async_callback(stopped.close)
        async with stopped.transaction():
            await stopped.execute("SELECT id FROM emails WHERE id = $1 FOR UPDATE", emails[0].id)
            async with asyncio.timeout(5):
                assert await box.queue.rescue(now=AFTER_LEASE, resend_marked=False) == 2
        assert await box.queue.rescue(now=AFTER_LEASE, resend_marked=False) == 1


async def test_a_marked_email_is_sent_again_where_the_operator_prefers_that(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=lease)
    await box.queue.mark(email.id, lease, at=SOON, recipients=1)
    assert await box.queue.rescue(now=AFTER_LEASE, resend_marked=True) == 1
    assert [again.id for again in await box.claim(at=AFTER_LEASE)] == [email.id]


async def test_a_worker_that_was_thought_dead_settles_the_doubt_it_left(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=lease)
    await box.queue.mark(email.id, lease, at=SOON, recipients=1)
    await box.queue.rescue(now=AFTER_LEASE, resend_marked=False)
    settled = await box.record(email.id, as_sent(email, at=AFTER_LEASE), lease=lease.token)
    assert settled is not None
    assert (settled.status, settled.lease) == (S.SENT, None)


async def test_a_worker_that_was_thought_dead_cannot_touch_what_another_has_claimed(box: Outlet) -> None:
    old = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=old)
    await box.queue.rescue(now=AFTER_LEASE, resend_marked=False)
    new = a_lease(AFTER_LEASE)
    await box.claim(at=AFTER_LEASE, lease=new)
    assert not await box.queue.mark(email.id, old, at=AFTER_LEASE, recipients=1)
    assert await box.record(email.id, as_sent(email), lease=old.token) is None
    assert await box.queue.mark(email.id, new, at=AFTER_LEASE, recipients=1)


async def test_a_retried_doubt_can_no_longer_be_settled_by_its_old_worker(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=lease)
    await box.queue.mark(email.id, lease, at=SOON, recipients=1)
    await box.queue.rescue(now=AFTER_LEASE, resend_marked=False)
    again = Transition.retried(at=AFTER_LEASE, recipients=email.recipients, expires_at=email.expires_at)
    assert await box.record(email.id, again) is not None
    assert await box.record(email.id, as_sent(email), lease=lease.token) is None


async def test_a_resting_account_keeps_the_deferred_and_not_the_new(box: Outlet) -> None:
    lease = a_lease()
    old = await box.accept(an_email())
    (claimed,) = await box.claim(lease=lease)
    resting = defer_for_account(claimed, Trouble(TroubleKind.NETWORK, "refused"), now=NOW)
    await box.record(old.id, resting, lease=lease.token)
    new = await box.accept(an_email())
    while_resting = await box.queue.claim_due(a_lease(), now=SOON, limit=10, deferred_too=False)
    assert [email.id for email in while_resting] == [new.id]
    assert [email.id for email in await box.claim(at=SOON)] == [old.id]


async def test_a_resting_account_does_not_keep_what_is_out_of_time(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email(expires_at=NOW + timedelta(minutes=1)))
    (claimed,) = await box.claim(lease=lease)
    resting = defer_for_account(claimed, Trouble(TroubleKind.NETWORK, "refused"), now=NOW)
    await box.record(email.id, resting, lease=lease.token)
    late = await box.queue.claim_due(a_lease(), now=NOW + timedelta(minutes=2), limit=10, deferred_too=False)
    assert [found.id for found in late] == [email.id]


async def test_the_next_due_time_is_the_earliest_to_come(box: Outlet) -> None:
    assert await box.queue.next_due(after=NOW, deferred_too=True) is None
    for minutes in (5, 2, 9):
        await box.accept(an_email(due=NOW + timedelta(minutes=minutes)))
    await box.accept(an_email())
    assert await box.queue.next_due(after=NOW, deferred_too=True) == NOW + timedelta(minutes=2)


async def test_what_is_out_of_time_is_anybodys_to_end(box: Outlet, database_url: str) -> None:
    email = await box.accept(an_email(expires_at=SOON))
    async with outlet(database_url, identity="somebody@example.com") as other:
        assert await other.claim() == []
        assert [found.id for found in await other.claim(at=AFTER_LEASE)] == [email.id]


async def test_what_is_due_and_out_of_time_takes_one_place_of_a_claim(box: Outlet) -> None:
    late = await box.accept(an_email(expires_at=SOON))
    due = await box.accept(an_email(due=SOON))
    for deferred_too in (True, False):
        lease = a_lease(AFTER_LEASE)
        claimed = await box.queue.claim_due(lease, now=AFTER_LEASE, limit=2, deferred_too=deferred_too)
        assert [email.id for email in claimed] == [late.id, due.id]
        for email in claimed:
            back = Transition.handed_back(at=AFTER_LEASE, code="handed_back", detail="stopped")
            await box.record(email.id, back, lease=lease.token)


async def test_a_worker_that_has_ended_is_seen_no_more(box: Outlet) -> None:
    await box.queue.heartbeat([], until=NOW, worker="w1", at=NOW)
    await box.queue.retire("w1")
    assert await box.queue.workers(since=NOW) == []


async def test_the_sandbox_never_takes_real_mail_nor_a_real_worker_the_sandboxs(box: Outlet, database_url: str) -> None:
    real = await box.accept(an_email())
    async with outlet(database_url, identity="sandbox") as sandbox:
        assert await sandbox.queue.next_due(after=NOW - timedelta(hours=1), deferred_too=True) is None
        caught = await sandbox.accept(an_email())
        assert [email.id for email in await sandbox.claim()] == [caught.id]
    assert [email.id for email in await box.claim()] == [real.id]


async def test_events_of_a_whole_life_are_in_order(box: Outlet) -> None:
    lease = a_lease()
    email = await box.accept(an_email())
    await box.claim(lease=lease)
    back = Transition.handed_back(at=SOON, code="handed_back", detail="stopped")
    await box.record(email.id, back, lease=lease.token)
    again = a_lease(SOON)
    await box.claim(at=SOON, lease=again)
    done = await box.record(email.id, as_sent(email, at=SOON), lease=again.token)
    assert done is not None
    assert [(e.status, e.code) for e in done.events] == [
        (S.QUEUED, "accepted"),
        (S.SENDING, "claimed"),
        (S.QUEUED, "handed_back"),
        (S.SENDING, "claimed"),
        (S.SENT, "sent"),
    ]
    assert replace(done, events=()) == replace(
        email, status=S.SENT, recipients=done.recipients, sent_at=SOON, attempts=1, version=4
    )
