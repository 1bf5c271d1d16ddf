"""`SeriesStore` on both databases: exactly one email for each time of a series, whatever races or fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from support.outbox_samples import EVERYTHING, NOW, Outlet, a_series, an_email, outlet

from outspool.adapters.sql.backend import T, Work
from outspool.adapters.sql.tables import emails
from outspool.adapters.uuid7 import new_id
from outspool.domain.email import Email, Event, Mailbox, Problem
from outspool.domain.recurrence import Recurrence
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus
from outspool.domain.transition import Transition
from outspool.ports.emails import Search
from outspool.services.acceptance.series import advance_series, make_occurrence, occurrence_event

S = EmailStatus
DAILY = Recurrence(cron="0 13 * * *", timezone="Europe/Berlin", count=3, until=NOW + timedelta(days=90), start=NOW)
NEXT_DAY = NOW + timedelta(days=1)
DAYS = timedelta(days=5)


def a_daily(due: datetime = NOW, *, rule: Recurrence = DAILY, **changes: Any) -> Series:
    return a_series(due=due, rule=rule, at=NOW - timedelta(days=2), **changes)


def made_by(series: Email, *, now: datetime = NOW) -> tuple[Series, Email, Event]:
    """Return where the series stands after its due email was made, that email, and its event."""
    assert isinstance(series, Series)
    at = series.due_at
    email = make_occurrence(series, at, now=now, email_id=new_id(now), expire_after=DAYS)
    return advance_series(series, at, now=now), email, occurrence_event(series, at, now=now)


async def made(box: Outlet, series: Email) -> list[Email]:
    """Return what a series has made, the oldest time first."""
    page = await box.store.find(Search(series=series.id, limit=100), EVERYTHING)
    return sorted(page.emails, key=lambda email: email.due_at)


async def test_a_series_and_what_it_makes_come_back_as_they_were_stored(box: Outlet) -> None:
    series = await box.accept(
        a_daily(
            cc=(Mailbox(address="bob@example.com", name="Bob"),), bcc=(Mailbox(address="eve@example.com"),), tags=("t",)
        )
    )
    found = await box.store.get(series.id, EVERYTHING)
    assert found == replace(series, events=(Event(at=series.created_at, status=S.RECURRING, code="accepted"),))
    after, email, event = made_by(series)
    assert await box.series.advance(after, email, event)
    assert await box.store.get(series.id, EVERYTHING) == replace(after, version=1, events=found.events)
    assert await box.store.get(email.id, EVERYTHING) == replace(email, events=(event,))
    assert (email.status, email.due_at, email.series_id) == (S.QUEUED, NOW, series.id)
    assert email.content == series.content
    assert email.message_id != series.message_id


async def test_the_soonest_series_comes_first_and_those_that_rest_do_not(box: Outlet, database_url: str) -> None:
    later, sooner = [await box.accept(a_daily(NOW + timedelta(hours=hours))) for hours in (2, 1)]
    paused = await box.accept(replace(a_daily(), status=S.PAUSED))
    canceled = await box.accept(a_daily())
    assert await box.store.record(canceled.id, Transition.canceled(at=NOW), EVERYTHING)
    await box.accept(an_email())
    async with outlet(database_url, identity="somebody else") as other:
        await other.accept(a_daily())
        assert len(await other.series.list_upcoming(other.scope, limit=10)) == 1
    assert await box.series.list_upcoming(box.scope, limit=10) == [(sooner.id, sooner.due_at), (later.id, later.due_at)]
    assert await box.series.list_upcoming(box.scope, limit=1) == [(sooner.id, sooner.due_at)]
    assert paused.id not in dict(await box.series.list_upcoming(box.scope, limit=10))


async def test_a_series_itself_is_never_claimed(box: Outlet) -> None:
    series = await box.accept(a_daily(NOW - timedelta(days=1)))
    assert await box.claim() == []
    assert await box.queue.next_due(after=NOW - timedelta(days=9), deferred_too=True) is None
    after, email, event = made_by(series)
    await box.series.advance(after, email, event)
    assert [claimed.id for claimed in await box.claim()] == [email.id]


async def test_of_racing_processes_one_makes_the_email(box: Outlet, other: Outlet) -> None:
    series = await box.accept(a_daily())
    steps = [(box, other)[n % 2].series.advance(*made_by(series)) for n in range(10)]
    assert sum(await asyncio.gather(*steps)) == 1
    assert len(await made(box, series)) == 1


async def test_a_canceled_or_changed_series_makes_nothing_from_what_it_was(box: Outlet) -> None:
    canceled, changed, paused = [await box.accept(a_daily()) for _ in range(3)]
    assert await box.store.record(canceled.id, Transition.canceled(at=NOW), EVERYTHING, version=0)
    assert await box.revise(replace(changed, due_at=NEXT_DAY), Event(at=NOW, status=S.RECURRING, code="updated"))
    assert await box.revise(replace(paused, status=S.PAUSED), Event(at=NOW, status=S.PAUSED, code="updated"))
    for series in (canceled, changed, paused):
        assert not await box.series.advance(*made_by(series))
        assert await made(box, series) == []


async def test_a_series_is_either_canceled_or_makes_its_email(box: Outlet, other: Outlet) -> None:
    for _ in range(10):
        series = await box.accept(a_daily())
        has_made, is_canceled = await asyncio.gather(
            box.series.advance(*made_by(series)),
            other.store.record(series.id, Transition.canceled(at=NOW), EVERYTHING, version=series.version),
        )
        assert has_made is not is_canceled
        assert len(await made(box, series)) == has_made


async def test_a_time_that_comes_again_makes_no_second_email(box: Outlet) -> None:
    series = await box.accept(a_daily())
    await box.series.advance(*made_by(series))
    again = await box.store.get(series.id, EVERYTHING)
    assert again is not None
    set_back = replace(again, due_at=series.due_at)
    assert await box.series.advance(*made_by(set_back))
    assert len(await made(box, series)) == 1
    found = await box.store.get(series.id, EVERYTHING)
    assert found is not None
    assert found.due_at == NEXT_DAY


async def test_the_last_email_ends_the_series_and_its_history_says_so(box: Outlet) -> None:
    series = await box.accept(a_daily(rule=replace(DAILY, made=2)))
    await box.series.advance(*made_by(series))
    ended = await box.store.get(series.id, EVERYTHING)
    assert ended is not None
    assert isinstance(ended, Series)
    assert (ended.status, ended.scheduled_at, ended.recurrence) == (S.ENDED, None, replace(DAILY, made=3))
    assert [event.code for event in ended.events] == ["accepted", "ended"]
    assert await box.series.list_upcoming(box.scope, limit=10) == []


async def test_a_halted_series_says_why_until_it_is_resumed(box: Outlet) -> None:
    series = a_daily()
    await box.accept(series)
    problem = Problem(code="recipient_refused", message="Not to bob.", hint="Ask.")
    paused = replace(series, status=S.PAUSED, scheduled_at=None, problem=problem)
    event = Event(at=NOW, status=S.PAUSED, code=problem.code, detail=problem.message)
    assert await box.series.halt(paused, event)
    assert not await box.series.halt(paused, event)
    found = await box.store.get(series.id, EVERYTHING)
    assert found == replace(paused, version=1, events=(*(found.events[:1] if found else ()), event))
    resumed = await box.revise(replace(found, status=S.RECURRING, problem=None), replace(event, code="updated"))
    assert resumed is not None
    assert resumed.problem is None


class CrashError(Exception):
    """The power failed."""


def crashing(box: Outlet, *, after: int) -> Any:
    """Return a way to write that loses its power after so many statements, or all of them and before the commit."""
    write = box.database.write

    async def crash(work: Work[T]) -> T:
        def half(connection: sa.Connection) -> T:
            done = 0

            def count(*_: object) -> None:
                nonlocal done
                done += 1
                if done > after:
                    raise CrashError

            sa.event.listen(connection, "before_cursor_execute", count)
            work(connection)
            raise CrashError

        return await write(half)

    return crash


@pytest.mark.parametrize("statements", range(8))
async def test_a_crash_after_any_statement_leaves_nothing_half_done(
    box: Outlet, statements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = await box.accept(a_daily(tags=("t",)))
    with monkeypatch.context() as power:
        power.setattr(box.database, "write", crashing(box, after=statements))
        with pytest.raises(CrashError):
            await box.series.advance(*made_by(series))
    assert await box.series.list_upcoming(box.scope, limit=1) == [(series.id, NOW)]
    rows = sa.select(sa.func.count()).select_from(emails)
    assert await box.database.read(lambda connection: connection.scalar(rows)) == 1
    assert await box.series.advance(*made_by(series))
    assert len(await made(box, series)) == 1


async def test_a_step_whose_commit_is_in_doubt_is_harmless_to_repeat(box: Outlet) -> None:
    series = await box.accept(a_daily())
    assert await box.series.advance(*made_by(series))  # and nobody heard of it
    assert not await box.series.advance(*made_by(series))
    assert len(await made(box, series)) == 1


async def test_what_a_series_made_is_found_by_it(box: Outlet) -> None:
    series, other = [await box.accept(a_daily()) for _ in range(2)]
    await box.series.advance(*made_by(series))
    assert [email.series_id for email in await made(box, series)] == [series.id]
    assert await made(box, other) == []
    assert await made(box, replace(series, id=UUID(int=7))) == []
