"""Emails outside a caller's scope behave as if they did not exist: one test per store method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from support.outbox_samples import NOW, Outlet, a_series, an_email, outlet

from outspool.adapters.sql.tables import emails
from outspool.domain.email import Email, Event
from outspool.domain.principal import LOCAL_USER, Principal, Role, Scope
from outspool.domain.recurrence import Recurrence
from outspool.domain.status import EmailStatus
from outspool.domain.transition import Transition
from outspool.errors import IdempotencyConflict
from outspool.ports.emails import Search

S = EmailStatus
LATER = NOW + timedelta(hours=1)
DAILY = Recurrence(cron="0 9 * * *", timezone="UTC")


@pytest.fixture
async def ada(database_url: str) -> AsyncIterator[Outlet]:
    async with outlet(database_url, owner="ada", identity="ada@example.com") as opened:
        yield opened


@pytest.fixture(params=["another owner", "another sender of the same owner", "the sandbox"])
async def stranger(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Outlet]:
    owner, identity = {
        "another owner": ("bea", "ada@example.com"),
        "another sender of the same owner": ("ada", "sales@example.com"),
        "the sandbox": ("sandbox", "sandbox"),
    }[request.param]
    async with outlet(database_url, owner=owner, identity=identity) as opened:
        yield opened


async def test_get_and_version(ada: Outlet, stranger: Outlet) -> None:
    email = await ada.accept(an_email())
    assert await ada.store.get(email.id, ada.scope)
    assert await ada.store.version(email.id, ada.scope) is not None
    assert await stranger.store.get(email.id, stranger.scope) is None
    assert await stranger.store.version(email.id, stranger.scope) is None


async def test_get_all_and_settled(ada: Outlet, stranger: Outlet) -> None:
    email = await ada.accept(an_email(due=LATER))
    assert [found.id for found in await ada.store.get_all([email.id], ada.scope)] == [email.id]
    assert await ada.store.find_settled([email.id], ada.scope) == {email.id}
    assert await stranger.store.get_all([email.id], stranger.scope) == []
    assert await stranger.store.find_settled([email.id], stranger.scope) == frozenset()


async def test_find_by_ending(ada: Outlet, stranger: Outlet) -> None:
    email = await ada.accept(an_email())
    ending = email.id.hex[-8:]
    assert [found.id for found in await ada.store.find_by_ending(ending, ada.scope, limit=5)] == [email.id]
    assert await stranger.store.find_by_ending(ending, stranger.scope, limit=5) == []


@pytest.mark.parametrize(
    "search",
    [
        Search(),
        Search(status=S.QUEUED),
        Search(recipient="ann@example.com"),
        Search(query="Hello"),
        Search(tag="t"),
        Search(created_after=NOW - timedelta(days=1)),
    ],
)
async def test_find_whatever_is_searched_for(ada: Outlet, stranger: Outlet, search: Search) -> None:
    email = await ada.accept(an_email(tags=("t",)))
    own = await stranger.accept(an_email(tags=("t",)))
    assert [found.id for found in (await ada.store.find(search, ada.scope)).emails] == [email.id]
    assert [found.id for found in (await stranger.store.find(search, stranger.scope)).emails] == [own.id]


async def test_counts(ada: Outlet, stranger: Outlet) -> None:
    await ada.accept(an_email())
    await stranger.accept(an_email(due=LATER))
    assert await ada.store.counts(ada.scope) == {S.QUEUED: 1}
    assert await stranger.store.counts(stranger.scope) == {S.SCHEDULED: 1}


async def test_by_key_and_add(ada: Outlet, stranger: Outlet) -> None:
    email = await ada.accept(an_email(idempotency_key="k"))
    assert await stranger.store.by_key("k", stranger.scope) is None
    if stranger.owner == ada.owner:  # one user has one set of keys, whichever sender is used
        with pytest.raises(IdempotencyConflict):
            await stranger.accept(an_email(idempotency_key="k", fingerprint="0" * 64))
    else:
        assert (await stranger.accept(an_email(idempotency_key="k"))).id != email.id
    found = await ada.store.by_key("k", ada.scope)
    assert found is not None
    assert found.id == email.id


async def test_revise(ada: Outlet, stranger: Outlet) -> None:
    email = await ada.accept(an_email(due=LATER))
    changed = replace(email, content=replace(email.content, subject="Changed"))
    event = Event(at=NOW, status=email.status, code="updated")
    assert not await stranger.store.revise(changed, event, stranger.scope)
    assert await ada.store.get(email.id, ada.scope) == replace(
        email, events=(Event(at=NOW, status=email.status, code="accepted"),)
    )
    assert await ada.store.revise(changed, event, ada.scope)


async def test_record(ada: Outlet, stranger: Outlet) -> None:
    email = await ada.accept(an_email(due=LATER))
    canceled = Transition.canceled(at=NOW)
    assert not await stranger.store.record(email.id, canceled, stranger.scope)
    assert await ada.store.record(email.id, canceled, ada.scope)


async def test_the_series_that_come_next(ada: Outlet, stranger: Outlet) -> None:
    series = await ada.accept(a_series(due=LATER, rule=DAILY))
    assert [found for found, _ in await ada.series.list_upcoming(ada.scope, limit=10)] == [series.id]
    assert await stranger.series.list_upcoming(stranger.scope, limit=10) == []


async def test_an_operator_reaches_everybodys_mail_but_from_the_sandbox(ada: Outlet) -> None:
    email = await ada.accept(an_email())
    operator = Principal(user="local", identities=frozenset(), role=Role.OPERATOR)
    assert await ada.store.get(email.id, operator.scope)
    in_the_sandbox = Principal(user="sandbox", identities=frozenset({"sandbox"}), role=Role.OPERATOR)
    assert await ada.store.get(email.id, in_the_sandbox.scope) is None


Make = Callable[[Outlet], Awaitable[Email]]


@pytest.mark.parametrize(("identity", "owner"), [("me@example.com", LOCAL_USER), ("sandbox", "sandbox")])
async def test_mail_that_a_version_without_owners_wrote_is_its_senders(
    database_url: str, identity: str, owner: str
) -> None:
    async with outlet(database_url, identity=identity, owner=owner) as box:
        email = await box.accept(an_email(idempotency_key="k"))
        nobody = emails.update().values(owner=None, agent=None, client=None, owner_key=None)
        await box.database.write(lambda connection: connection.execute(nobody))
        found = await box.store.get(email.id, box.scope)
        assert found is not None
        assert found.owner == owner
        assert await box.store.counts(box.scope) == {S.QUEUED: 1}
        assert (await box.accept(an_email(idempotency_key="k"))).id == email.id
        assert (await box.store.by_key("k", box.scope)) is not None
        for other in (Scope(owner="ada", identities=None), Scope(owner=owner, identities=frozenset({"x@example.com"}))):
            assert await box.store.get(email.id, other) is None


async def test_a_key_of_this_version_is_known_to_the_version_before(database_url: str) -> None:
    """A process of before looks keys up by lane: while both run, the same call must not send twice."""
    async with outlet(database_url, identity="me@example.com") as box:
        await box.accept(an_email(idempotency_key="k"))
        by_lane = sa.select(emails.c.id).where(emails.c.lane == "me@example.com", emails.c.idempotency_key == "k")
        assert await box.database.read(lambda connection: connection.scalar(by_lane)) is not None
