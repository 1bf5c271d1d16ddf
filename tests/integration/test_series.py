"""Series end to end: created, changed, missed, interrupted by crashes, and delivered on time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from support.smtp_sink import SmtpSink
from support.variables import variables
from support.zygote import Zygote

from outspool.adapters.sql.tables import emails as rows
from outspool.adapters.system_clock import SystemClock
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus
from outspool.errors import (
    IdempotencyConflict,
    InvalidArgument,
    InvalidSchedule,
    RecipientRefused,
    WrongState,
)
from outspool.services.acceptance.attachment_requests import AttachmentRequest
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.blob_collector import BlobCollector

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
BERLIN = "Europe/Berlin"
THERE = ZoneInfo(BERLIN)
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)  # a Sunday
MONDAY = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # nine o'clock in Berlin
WEEK = timedelta(days=7)
ASLEEP, AWAKE = datetime(2026, 7, 14, tzinfo=UTC), datetime(2026, 7, 22, tzinfo=UTC)
CRASHES = 10
WEEKLY = When(recurrence="0 9 * * mon", timezone=BERLIN)


class Dial(SystemClock):
    """A clock that is turned by hand."""

    def __init__(self, now: datetime = NOW) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time


class Later(SystemClock):
    """The machine's clock, set forward so that `then` comes in so many seconds."""

    def __init__(self, then: datetime, *, seconds: float) -> None:
        self._ahead = then - datetime.now(UTC) - timedelta(seconds=seconds)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


def draft(*to: str, **more: Any) -> EmailRequest:
    return EmailRequest(to=to or ("ann@example.com",), **{"subject": "Report", "body": "Hi.\n", **more})


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return variables(tmp_path, database_url=database_url)


@pytest.fixture
async def dial() -> Dial:
    return Dial()


@pytest.fixture
async def app(environment: dict[str, str], dial: Dial) -> AsyncIterator[Outspool]:
    async with opened(environment, dial) as opened_app:
        yield opened_app


@asynccontextmanager
async def opened(environment: dict[str, str], dial: Dial, **more: str) -> AsyncIterator[Outspool]:
    app = Outspool(Settings.load({**environment, **more}), clock=dial)
    async with app.run(worker=False):
        yield app


async def made(app: Outspool, series: Email) -> list[Email]:
    """Return what a series has made, the oldest first."""
    found: list[Email] = []
    cursor = None
    while True:
        page = await app.outbox.find(series=str(series.id), limit=100, cursor=cursor)
        found += page.emails
        if (cursor := page.next_cursor) is None:
            return sorted(found, key=lambda email: email.created_at)


async def test_a_series_is_accepted_listed_and_shown_with_its_next_time(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    assert (series.status, series.scheduled_at) == (S.RECURRING, MONDAY)
    listing = await app.outbox.find(status="recurring")
    assert [email.id for email in listing.emails] == [series.id]
    assert listing.counts == {S.RECURRING: 1}
    shown = await app.outbox.get(str(series.id))
    assert [(event.status, event.code) for event in shown.events] == [(S.RECURRING, "accepted")]


async def test_each_time_makes_one_email_and_the_series_waits_for_the_next(app: Outspool, dial: Dial) -> None:
    series = await app.outbox.accept(draft(cc=["bob@example.com"], tags=["weekly"], priority="low"), when=WEEKLY)
    assert await app.occurrences.make_due(now=NOW) == MONDAY
    assert await made(app, series) == []
    assert await app.occurrences.make_due(now=MONDAY) == MONDAY + WEEK
    assert await app.occurrences.make_due(now=MONDAY) == MONDAY + WEEK
    (email,) = await made(app, series)
    assert (email.status, email.scheduled_at, email.series_id) == (S.QUEUED, MONDAY, series.id)
    assert email.content.tags == ("weekly",)
    assert email.idempotency_key is None
    assert [r.address for r in email.recipients] == ["ann@example.com", "bob@example.com"]
    assert [found.id for found in (await app.outbox.find(tag="weekly", status="queued")).emails] == [email.id]


async def test_a_machine_asleep_over_five_times_makes_the_last_one(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    waking = MONDAY + 4 * WEEK + timedelta(days=6)
    assert await app.occurrences.make_due(now=waking) == MONDAY + 5 * WEEK
    (email,) = await made(app, series)
    assert email.scheduled_at == MONDAY + 4 * WEEK
    assert (email.date, email.expires_at) == (waking, waking + timedelta(hours=120))
    shown = await app.outbox.get(str(email.id))
    assert "No worker ran from 2026-11-23T08:00:00Z on" in shown.events[0].detail


async def test_a_series_ends_after_so_many_emails_or_with_its_day(app: Outspool) -> None:
    counted = await app.outbox.accept(draft(), when=When(recurrence="0 9 * * *", timezone=BERLIN, count=2))
    dated = await app.outbox.accept(draft(), when=When(recurrence="0 9 * * *", timezone=BERLIN, until="2026-11-25"))
    for day in range(10):
        await app.occurrences.make_due(now=MONDAY + timedelta(days=day))
    assert len(await made(app, counted)) == 2
    assert len(await made(app, dated)) == 3
    for series in (counted, dated):
        ended = await app.outbox.get(str(series.id))
        assert (ended.status, ended.scheduled_at) == (S.ENDED, None)
        with pytest.raises(WrongState, match="is a series that has ended"):
            await app.outbox.update(str(series.id), {"subject": "More"})
    assert await app.occurrences.make_due(now=MONDAY + WEEK) is None


async def test_a_series_begins_no_sooner_than_it_is_told(app: Outspool) -> None:
    when = When(recurrence="0 9 * * mon", timezone=BERLIN, scheduled_at="2026-12-01T00:00:00")
    series = await app.outbox.accept(draft(), when=when)
    assert series.scheduled_at == MONDAY + 2 * WEEK
    sharp = When(recurrence="0 9 * * mon", timezone=BERLIN, scheduled_at="2026-12-07T09:00:00")
    assert (await app.outbox.accept(draft(), when=sharp)).scheduled_at == MONDAY + 2 * WEEK
    delayed = When(recurrence="0 9 * * mon", timezone=BERLIN, delay="P2D")
    assert (await app.outbox.accept(draft(), when=delayed)).scheduled_at == MONDAY + WEEK


async def test_a_change_of_content_holds_for_what_is_to_come(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    await app.occurrences.make_due(now=MONDAY)
    changed = await app.outbox.update(str(series.id), {"subject": "Better report", "to": ["bob@example.com"]})
    assert (changed.status, changed.due_at) == (S.RECURRING, MONDAY + WEEK)
    await app.occurrences.make_due(now=MONDAY + WEEK)
    first, second = await made(app, series)
    assert (first.content.subject, second.content.subject) == ("Report", "Better report")
    assert [r.address for r in second.recipients] == ["bob@example.com"]


async def test_each_email_of_a_series_carries_the_files_it_was_given_however_late(app: Outspool, dial: Dial) -> None:
    files = [AttachmentRequest(text="x,y\n", filename="a.csv")]
    series = await app.outbox.accept(draft(attachments=files), when=WEEKLY)
    dial.time = MONDAY + 5 * WEEK
    await BlobCollector(app.blobs, app.ledger, clock=dial).sweep()
    await app.occurrences.make_due(now=dial.time)
    (email,) = await made(app, series)
    assert email.content.attachments == series.content.attachments
    assert b"a.csv" in await app.outbox.raw(str(email.id))
    await app.outbox.update(str(series.id), {"attachments": []})
    await app.occurrences.make_due(now=dial.time + WEEK)
    assert [bool(one.content.attachments) for one in await made(app, series)] == [True, False]


async def test_a_series_says_what_its_template_said_when_it_was_accepted(app: Outspool) -> None:
    written = {"title": "Monday", "message": "Good morning."}
    asked = EmailRequest(to=["ann@example.com"], template="notification", variables=written)
    series = await app.outbox.accept(asked, when=WEEKLY, idempotency_key="monday")
    await app.occurrences.make_due(now=MONDAY)
    (email,) = await made(app, series)
    assert b"Good morning." in await app.outbox.raw(str(email.id))
    assert (await app.outbox.accept(asked, when=WEEKLY, idempotency_key="monday")).id == series.id


async def test_a_change_of_rule_moves_the_next_time(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    name = str(series.id)
    changed = await app.outbox.update(name, {"recurrence": "30 10 * * tue"})
    assert changed.scheduled_at == datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
    changed = await app.outbox.update(name, {}, when=When(timezone="America/New_York"))
    assert changed.scheduled_at == datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    changed = await app.outbox.update(name, {}, when=When(scheduled_at="2026-12-01T00:00:00"))
    assert changed.scheduled_at == datetime(2026, 12, 1, 15, 30, tzinfo=UTC)
    changed = await app.outbox.update(name, {"until": "2026-12-08", "count": 9})
    assert isinstance(changed, Series)
    assert (changed.recurrence.count, changed.scheduled_at) == (9, datetime(2026, 12, 1, 15, 30, tzinfo=UTC))
    changed = await app.outbox.update(name, {"until": None, "count": None})
    assert isinstance(changed, Series)
    assert (changed.recurrence.until, changed.recurrence.count) == (None, None)
    with pytest.raises(InvalidSchedule, match="until is before the first time"):
        await app.outbox.update(name, {"until": "2026-11-30"})
    with pytest.raises(InvalidArgument, match="cannot become a single email"):
        await app.outbox.update(name, {"recurrence": None})


async def test_one_time_is_skipped_by_putting_the_series_off(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    await app.outbox.update(str(series.id), {}, when=When(scheduled_at="2026-11-24T00:00:00", timezone=BERLIN))
    await app.occurrences.make_due(now=MONDAY + WEEK)
    assert [email.scheduled_at for email in await made(app, series)] == [MONDAY + WEEK]


async def test_a_paused_series_makes_nothing_and_resumes_with_the_next_time(app: Outspool, dial: Dial) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    name = str(series.id)
    paused = await app.outbox.update(name, {"paused": True})
    assert (paused.status, paused.scheduled_at) == (S.PAUSED, None)
    assert (await app.outbox.update(name, {"subject": "While paused"})).status is S.PAUSED
    assert await app.occurrences.make_due(now=MONDAY + WEEK) is None
    dial.time = MONDAY + WEEK + timedelta(hours=1)
    resumed = await app.outbox.update(name, {"paused": False})
    assert (resumed.status, resumed.scheduled_at) == (S.RECURRING, MONDAY + 2 * WEEK)
    assert await made(app, series) == []


async def test_a_canceled_series_makes_nothing_and_what_it_made_is_canceled_alone(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    await app.occurrences.make_due(now=MONDAY)
    canceled = await app.outbox.cancel(str(series.id))
    assert canceled.status is S.CANCELED
    assert await app.occurrences.make_due(now=MONDAY + WEEK) is None
    (email,) = await made(app, series)
    assert email.status is S.QUEUED
    assert (await app.outbox.cancel(str(email.id))).status is S.CANCELED


async def test_a_series_cannot_be_retried_and_a_single_email_cannot_be_paused(app: Outspool) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    with pytest.raises(WrongState, match="makes emails of its own"):
        await app.outbox.retry(str(series.id))
    single = await app.outbox.accept(draft(), when=When(delay="PT2H"))
    for changes in ({"paused": True}, {"recurrence": "0 9 * * *"}, {"until": None}, {"count": 3}):
        with pytest.raises(InvalidArgument, match="single email"):
            await app.outbox.update(str(single.id), changes)


async def test_the_same_key_and_rule_give_the_same_series_also_after_its_end(app: Outspool, dial: Dial) -> None:
    when = When(recurrence="0 9 * * mon", timezone=BERLIN, until="2026-11-30")
    series = await app.outbox.accept(draft(), when=when, idempotency_key="weekly")
    dial.time = MONDAY + 3 * WEEK
    again = await app.outbox.accept(draft(), when=when, idempotency_key="weekly")
    assert again.id == series.id
    other = When(recurrence="0 10 * * mon", timezone=BERLIN, until="2027-11-30")
    with pytest.raises(IdempotencyConflict):
        await app.outbox.accept(draft(), when=other, idempotency_key="weekly")


async def test_what_the_operator_no_longer_allows_pauses_the_series_and_says_why(
    app: Outspool, environment: dict[str, str], dial: Dial
) -> None:
    series = await app.outbox.accept(draft(), when=WEEKLY)
    other = await app.outbox.accept(draft("bob@example.org"), when=WEEKLY)
    async with opened(environment, dial, EMAIL_DENIED_RECIPIENTS="@example.com") as strict:
        assert await strict.occurrences.make_due(now=MONDAY) == MONDAY + WEEK
        assert len(await made(strict, other)) == 1
        assert await made(strict, series) == []
        paused = await strict.outbox.get(str(series.id))
        with pytest.raises(RecipientRefused):
            await strict.outbox.update(str(series.id), {"to": ["ann@example.com"]})
    assert paused.status is S.PAUSED
    assert paused.problem is not None
    assert paused.problem.code == "recipient_refused"
    resumed = await app.outbox.update(str(series.id), {"paused": False})
    assert (resumed.status, resumed.problem) == (S.RECURRING, None)


async def test_the_hourly_cap_delays_a_series_and_never_loses_it(environment: dict[str, str], dial: Dial) -> None:
    dial.time = MONDAY - timedelta(minutes=10)
    async with opened(environment, dial, EMAIL_RATE_LIMIT_PER_HOUR="2") as app:
        series = await app.outbox.accept(draft(), when=WEEKLY)
        await app.outbox.accept(draft())
        has_room = dial.time + timedelta(hours=1)
        assert await app.occurrences.make_due(now=MONDAY) == has_room
        assert await made(app, series) == []
        assert await app.occurrences.make_due(now=has_room) == MONDAY + WEEK
        (email,) = await made(app, series)
    assert (email.scheduled_at, email.created_at) == (MONDAY, has_room)


async def test_a_series_that_cannot_be_read_does_not_keep_the_others(app: Outspool) -> None:
    broken, sound = [await app.outbox.accept(draft(), when=WEEKLY) for _ in range(2)]
    spoil = rows.update().where(rows.c.id == broken.id).values(recurrence={"cron": "?"})
    await app.database.write(lambda connection: connection.execute(spoil))
    assert await app.occurrences.make_due(now=MONDAY) == MONDAY + WEEK
    assert len(await made(app, sound)) == 1


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (When(recurrence="0 9 30 2 *", timezone=BERLIN), "never comes true"),
        (When(recurrence="0 0 9 * * *", timezone=BERLIN), "has 6 of five fields; seconds, years"),
        (When(recurrence="whenever", timezone=BERLIN), "has 1 of five fields"),
        (When(recurrence="", timezone=BERLIN), "is not a cron expression"),
        (When(recurrence="0 9 * * mon"), "needs a timezone"),
        (When(recurrence="0 9 * * mon", timezone="Mars/Olympus"), "is not the IANA name"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, until="2026-11-22"), "until is before the first time"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, until="2020-01-01T00:00:00Z"), "until is before the first"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, until="9999-12-31"), "is no time to plan for"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, until="2027-03-28T02:30:00"), "does not exist in"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, until="2027-10-31T02:30:00"), "happens twice in"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, count=0), "count must be 1 to"),
        (When(recurrence="0 9 * * mon", timezone=BERLIN, count=-1), "count must be 1 to"),
        (When(delay="PT2H", count=3), "none is given"),
        (When(delay="PT2H", until="2027-01-01"), "none is given"),
        (When(timezone=BERLIN), "Neither scheduled_at nor delay is given"),
        (When(scheduled_at="2026-12-01T09:00:00+01:00", delay="PT2H"), "are both given"),
        (When(scheduled_at="2026-12-01T09:00:00"), "does not say in which time zone"),
        (When(scheduled_at="2026-12-01"), "has no time of day"),
        (When(scheduled_at="2026-11-22T11:00:00Z"), "was 1 h ago"),
        (When(scheduled_at="2027-03-28T02:30:00", timezone=BERLIN), "does not exist in"),
        (When(scheduled_at="2027-10-31T02:30:00", timezone=BERLIN), "happens twice in"),
        (When(scheduled_at="9999-12-31T23:59:59Z"), "more than 366 days ahead"),
        (When(scheduled_at="9999-12-31T23:59:59-14:00"), "more than 366 days ahead"),
        (When(scheduled_at="0001-01-01T00:00:00+14:00"), "ago"),
        (When(delay="-PT2H"), "is negative"),
        (When(delay="PT0S"), "is zero"),
        (When(delay="P999999999W"), "more than 366 days ahead"),
    ],
)
async def test_nonsense_is_refused_in_a_sentence_and_nothing_is_stored(app: Outspool, when: When, said: str) -> None:
    asked = [when]
    if when.recurrence is None and when.has_time and when.count is None and when.until is None:
        # The start of a series is held against the same rules.
        asked.append(replace(when, recurrence="0 9 * * mon", timezone=when.timezone or "UTC"))
    for one in asked[: 1 if said.startswith("does not say") else 2]:
        with pytest.raises(InvalidSchedule) as refused:
            await app.outbox.accept(draft(), when=one)
        assert said in str(refused.value)
        assert len(str(refused.value)) < 400
    assert (await app.outbox.find()).counts == {}


async def test_a_series_that_would_end_before_it_starts_is_refused(app: Outspool) -> None:
    when = When(recurrence="0 9 * * mon", timezone=BERLIN, scheduled_at="2026-12-01T00:00:00", until="2026-11-30")
    with pytest.raises(InvalidSchedule, match="until is before the first time, 2026-12-07T08:00:00Z"):
        await app.outbox.accept(draft(), when=when)
    assert (await app.outbox.find()).counts == {}


async def test_an_email_of_a_series_leaves_on_time(outspool: OpenOutspool, sink: SmtpSink) -> None:
    clock = Later(MONDAY, seconds=2)
    async with outspool(clock=clock) as app:
        series = await app.outbox.accept(draft(), when=When(recurrence="* 9 * * mon", timezone=BERLIN))
        assert series.scheduled_at == MONDAY
        async with asyncio.timeout(20):
            while not (emails := await made(app, series)) or emails[0].status is not S.SENT:
                await asyncio.sleep(0.02)
    (mail,) = sink.messages()
    (email,) = emails
    assert mail.message_id == email.message_id
    assert email.sent_at is not None
    assert MONDAY <= email.sent_at < MONDAY + timedelta(seconds=5)


async def live_through_a_year(environment: dict[str, str], log: Path) -> int:
    """Let one process after the other make what is due at each noon of 2026; return how many were killed at it.

    Nobody is there from the 14th to the 21st of July.
    """
    chance = random.Random(5)
    noons = [datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=n) for n in range(365)]
    times = [noon.isoformat() for noon in noons if not ASLEEP <= noon < AWAKE]
    kills = 0
    async with Zygote("support.series_maker") as zygote:
        while times:
            maker = await zygote.fork("maker", {"variables": environment, "times": times}, log=log)
            last = times[chance.randint(10, 30)] if kills < CRASHES else times[-1]
            began = time.monotonic()
            assert await maker.says(last), f"it ended: see {log}"
            if last != times[-1]:
                usual = (time.monotonic() - began) / (times.index(last) + 1)
                await asyncio.sleep(chance.random() * usual)  # so that it dies anywhere within the emails of a day
                kills += 1
            await maker.kill()
            times = [noon for noon in times if not maker.has_said(noon)]
    return kills


def expected(first: date, last: date, clock: str) -> set[str]:
    return {f"{first + timedelta(days=n)} {clock}" for n in range((last - first).days + 1)}


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_a_year_with_two_changes_of_clocks_ten_crashes_and_a_week_asleep(
    environment: dict[str, str], tmp_path: Path
) -> None:
    new_year = Dial(datetime(2026, 1, 1, tzinfo=UTC))
    rules = ("0 9 * * mon", "30 2 * * *", "0 9 * * *")
    async with opened(environment, new_year) as app:
        series = [await app.outbox.accept(draft(), when=When(recurrence=r, timezone=BERLIN)) for r in rules]
    assert await live_through_a_year(environment, tmp_path / "makers.log") == CRASHES
    async with opened(environment, new_year) as app:
        emails = [await made(app, each) for each in series]
    shown = [sorted(f"{email.due_at.astimezone(THERE):%Y-%m-%d %H:%M}" for email in of_one) for of_one in emails]
    weekly, nightly, daily = shown
    days = date(2026, 1, 1), date(2026, 12, 31)
    assert weekly == [f"{date(2026, 1, 5) + n * WEEK} 09:00" for n in range(52)]
    slept = date(2026, 7, 14), date(2026, 7, 21)
    after_the_gap = {"2026-03-29 03:00"}
    nights = expected(*days, "02:30") - expected(*slept, "02:30") - {"2026-03-29 02:30"} | after_the_gap
    assert nightly == sorted(nights)
    assert daily == sorted(expected(*days, "09:00") - expected(*slept, "09:00"))
