"""`EmailStore` on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from support.outbox_samples import EVERYTHING, NOW, OK, Outlet, a_lease, an_email, as_sent, outlet

from outspool.adapters.sql import search as sql_search
from outspool.domain.email import Event, Mailbox, Priority, Problem
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import IdempotencyConflict
from outspool.ports.emails import Search

S = EmailStatus


async def test_an_email_comes_back_as_it_was_stored(box: Outlet) -> None:
    email = an_email(
        "ann@example.com",
        cc=(Mailbox(address="bob@example.com", name="Bób, the 2nd"),),
        bcc=(Mailbox(address="eve@example.com"),),
        reply_to=(Mailbox(address="desk@example.com", name="Desk"),),
        subject="Grüße 🎉",
        html="<p>x</p>",
        in_reply_to="<a@b>",
        references=("<a@b>", "<c@d>"),
        headers={"X-Kind": "report"},
        tags=("weekly", "report"),
        priority=Priority.HIGH,
        idempotency_key="k1",
        due=NOW + timedelta(hours=1),
    )
    await box.accept(email)
    found = await box.store.get(email.id, EVERYTHING)
    assert found == replace(email, events=(Event(at=NOW, status=S.SCHEDULED, code="accepted"),))


async def test_an_unknown_id_is_none(box: Outlet) -> None:
    assert await box.store.get(an_email().id, EVERYTHING) is None


async def test_a_version_grows_with_every_change(box: Outlet) -> None:
    assert await box.store.version(an_email().id, EVERYTHING) is None
    email = await box.accept(an_email(due=NOW + timedelta(hours=1)))
    first = await box.store.version(email.id, EVERYTHING)
    assert first == email.version
    assert await box.store.record(email.id, Transition.canceled(at=NOW), EVERYTHING)
    second = await box.store.version(email.id, EVERYTHING)
    assert second is not None
    assert second > first


async def test_what_was_accepted_is_seen_by_another_process(box: Outlet, other: Outlet) -> None:
    email = await box.accept(an_email())
    found = await other.store.get(email.id, EVERYTHING)
    assert found is not None
    assert found.message_id == email.message_id


async def test_adding_the_same_email_again_changes_nothing(box: Outlet) -> None:
    await box.accept(an_email(fingerprint="0" * 64))
    email = an_email(tags=("t",))
    await box.accept(email)
    assert (await box.accept(email)).id == email.id
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 2}


async def test_a_caller_that_is_canceled_leaves_no_lock_behind(box: Outlet) -> None:
    await box.store.counts(EVERYTHING)
    for n in range(60):
        call = asyncio.create_task(box.accept(an_email()))
        await asyncio.sleep(n / 10_000)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        async with asyncio.timeout(5):
            await box.accept(an_email())


async def test_one_key_is_one_email(box: Outlet, other: Outlet) -> None:
    first = await box.accept(an_email(idempotency_key="k"))
    second = await other.accept(an_email(idempotency_key="k"))
    assert second.id == first.id
    assert (await box.store.by_key("k", box.scope)) == replace(first, events=())
    assert await box.store.by_key("another", box.scope) is None


async def test_one_key_with_another_payload_is_refused(box: Outlet) -> None:
    await box.accept(an_email(idempotency_key="k"))
    with pytest.raises(IdempotencyConflict, match="already stands for email"):
        await box.accept(an_email(idempotency_key="k", fingerprint="0" * 64))
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 1}


async def test_two_senders_may_use_the_same_key(box: Outlet, database_url: str) -> None:
    mine = await box.accept(an_email(idempotency_key="k"))
    async with outlet(database_url, identity="bea@example.com", owner="bea") as beas:
        hers = await beas.accept(an_email(idempotency_key="k", fingerprint="0" * 64))
        assert hers.id != mine.id
        assert (await beas.store.by_key("k", beas.scope)) == replace(hers, events=())


async def test_many_at_once_with_one_key_are_one_email(box: Outlet, other: Outlet) -> None:
    emails = [an_email(idempotency_key="race") for _ in range(20)]
    stored = await asyncio.gather(*((box, other)[n % 2].accept(email) for n, email in enumerate(emails)))
    assert len({email.id for email in stored}) == 1
    assert await box.store.counts(EVERYTHING) == {S.QUEUED: 1}


async def test_pages_hold_every_email_once_while_new_ones_arrive(box: Outlet) -> None:
    emails = [await box.accept(an_email()) for _ in range(7)]
    first = await box.store.find(Search(limit=3), EVERYTHING)
    await box.accept(an_email())
    second = await box.store.find(Search(limit=3, before_id=first.emails[-1].id), EVERYTHING)
    third = await box.store.find(Search(limit=3, before_id=second.emails[-1].id), EVERYTHING)
    seen = [email.id for page in (first, second, third) for email in page.emails]
    assert seen == [email.id for email in reversed(emails)]
    assert [page.next_before for page in (first, second, third)] == [first.emails[-1].id, second.emails[-1].id, None]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (Search(status=S.SCHEDULED), {"later"}),
        (Search(recipient="BOB@example.com"), {"bob"}),
        (Search(query="50%"), {"bob"}),
        (Search(query="_"), set()),
        (Search(query="HELLO"), {"later"}),
        (Search(tag="red"), {"bob"}),
        (Search(tag="re"), set()),
        (Search(created_after=NOW + timedelta(seconds=1)), {"later"}),
        (Search(created_before=NOW + timedelta(seconds=1)), {"bob"}),
        (Search(status=S.QUEUED, tag="red", recipient="bob@example.com"), {"bob"}),
        (Search(status=S.SENT), set()),
    ],
)
async def test_a_search_finds_what_it_names_and_no_more(box: Outlet, search: Search, found: set[str]) -> None:
    bob = await box.accept(an_email("bob@example.com", subject="Now 50% off", tags=("red", "blue")))
    at = NOW + timedelta(hours=1)
    later = await box.accept(an_email(at=at, due=at + timedelta(days=1)))
    names = {bob.id: "bob", later.id: "later"}
    page = await box.store.find(search, EVERYTHING)
    assert {names[email.id] for email in page.emails} == found


async def test_a_revision_replaces_content_and_recipients(box: Outlet) -> None:
    email = await box.accept(an_email("ann@example.com", tags=("old",), due=NOW + timedelta(hours=1)))
    rewritten = an_email("bob@example.com", subject="New", tags=("new",))
    revised = await box.revise(
        replace(email, content=rewritten.content, recipients=rewritten.recipients, due_at=NOW + timedelta(hours=2)),
        Event(at=NOW, status=S.SCHEDULED, code="updated", detail="subject, to"),
    )
    assert revised is not None
    assert revised.content == rewritten.content
    assert [r.address for r in revised.recipients] == ["bob@example.com"]
    assert [event.code for event in revised.events] == ["accepted", "updated"]
    assert not (await box.store.find(Search(tag="old"), EVERYTHING)).emails


async def test_a_revision_of_an_old_version_is_lost(box: Outlet) -> None:
    email = await box.accept(an_email(due=NOW + timedelta(hours=1)))
    event = Event(at=NOW, status=S.SCHEDULED, code="updated")
    assert await box.revise(email, event) is not None
    assert await box.revise(email, event) is None


async def test_what_is_claimed_cannot_be_revised_or_canceled(box: Outlet) -> None:
    email = await box.accept(an_email())
    await box.claim()
    current = await box.store.get(email.id, EVERYTHING)
    assert current is not None
    assert await box.revise(current, Event(at=NOW, status=S.QUEUED, code="updated")) is None
    assert await box.record(email.id, Transition.canceled(at=NOW)) is None


async def test_what_is_canceled_is_never_claimed(box: Outlet) -> None:
    email = await box.accept(an_email())
    canceled = await box.record(email.id, Transition.canceled(at=NOW), version=email.version)
    assert canceled is not None
    assert canceled.status is S.CANCELED
    assert await box.claim() == []


async def test_cancel_and_claim_race_for_every_email_and_one_wins(box: Outlet, other: Outlet) -> None:
    emails = [await box.accept(an_email()) for _ in range(40)]
    claims = asyncio.gather(*(other.claim(limit=1) for _ in range(40)))
    cancels = asyncio.gather(*(box.record(email.id, Transition.canceled(at=NOW)) for email in emails))
    claimed = {email.id for batch in await claims for email in batch}
    canceled = {email.id for email in await cancels if email is not None}
    assert claimed | canceled == {email.id for email in emails}
    assert not claimed & canceled


async def test_an_outcome_is_recorded_with_each_recipients_reply(box: Outlet) -> None:
    await box.accept(an_email("ann@example.com", "bob@example.com"))
    lease = a_lease()
    (email,) = await box.claim(lease=lease)
    refusal = replace(OK, code=550, enhanced_code="5.1.1", text="no such user")
    recipients = (
        replace(email.recipients[0], status=RecipientStatus.SENT, reply=OK),
        replace(email.recipients[1], status=RecipientStatus.FAILED, reply=refusal),
    )
    problem = Problem(code="refused", message="550 5.1.1 no such user", hint="Check it.")
    change = Transition.partial(at=NOW, recipients=recipients, attempts=1, problem=problem)
    recorded = await box.record(email.id, change, lease=lease.token)
    assert recorded is not None
    assert (recorded.status, recorded.attempts, recorded.sent_at) == (S.PARTIAL, 1, NOW)
    assert recorded.recipients == recipients
    assert recorded.problem == problem
    assert [event.status for event in recorded.events] == [S.QUEUED, S.SENDING, S.PARTIAL]


async def test_an_outcome_under_another_lease_is_dropped(box: Outlet) -> None:
    email = await box.accept(an_email())
    await box.claim()
    assert await box.record(email.id, as_sent(email), lease=a_lease().token) is None
    found = await box.store.get(email.id, EVERYTHING)
    assert found is not None
    assert found.status is S.SENDING


async def test_a_watcher_in_another_process_hears_of_a_new_email(box: Outlet, other: Outlet) -> None:
    await box.store.counts(EVERYTHING)  # the schema is there
    heard = asyncio.Event()
    async with other.changes.watch(heard.set, due_only=True):
        await asyncio.wait_for(heard.wait(), 10)  # said once when the listening begins
        heard.clear()
        await box.accept(an_email())
        await asyncio.wait_for(heard.wait(), 10)


async def test_an_sqlite_file_is_for_its_owners_eyes_alone(sqlite_url: str) -> None:
    async with outlet(sqlite_url) as box:
        await box.accept(an_email())
        path = box.database.sqlite_path
        files = [path, *path.parent.glob(f"{path.name}-*")]
        assert len(files) > 1
        assert {file.stat().st_mode & 0o077 for file in files} == {0}


async def test_words_are_sought_page_by_page_through_any_amount_of_mail(
    box: Outlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_search, "SEARCHED", 10)
    wanted = await box.accept(an_email(subject="The needle"))
    for _ in range(25):
        await box.accept(an_email(at=NOW + timedelta(seconds=1), subject="Hay"))
    pages = []
    search = Search(query="needle")
    while True:
        page = await box.store.find(search, EVERYTHING)
        pages.append(len(page.emails))
        if page.emails:
            assert [email.id for email in page.emails] == [wanted.id]
        if page.next_before is None:
            break
        search = replace(search, before_id=page.next_before)
    assert pages == [0, 0, 1]


async def test_counting_ends_where_it_says_nothing_more(box: Outlet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_search, "MOST_COUNTED", 3)
    for _ in range(5):
        await box.accept(an_email())
    await box.accept(an_email(due=NOW + timedelta(days=1)))
    assert await box.store.counts(EVERYTHING) == {EmailStatus.QUEUED: 3, EmailStatus.SCHEDULED: 1}
