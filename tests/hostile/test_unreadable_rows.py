"""An unreadable database row is set aside and named, and all other mail is still sent."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.outbox_samples import EVERYTHING, NOW, Outlet, an_email, outlet
from support.smtp_sink import SmtpSink
from support.variables import environment

from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus
from outspool.errors import WrongState
from outspool.ports.emails import Search
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.timings import Timings
from outspool.services.doctor.findings import Finding, Level

S = EmailStatus
QUICK = Timings(beat_seconds=0.2, poll_seconds=0.2)

ON_BOTH = {
    "an unknown priority": "UPDATE emails SET priority = 'urgent'",
    "a rank that is not its priority's": "UPDATE emails SET rank = 2, due_at = '2020-01-01 00:00:00.000000'",
    "a list where headers belong": "UPDATE emails SET headers = '[1, 2]'",
    "a number where references belong": "UPDATE emails SET \"references\" = '5'",
    "a word where reply_to belongs": "UPDATE emails SET reply_to = '\"you\"'",
    "numbers among the tags": "UPDATE emails SET tags = '[1, null]'",
    "a rule that is none": "UPDATE emails SET recurrence = '{\"cron\": 1}'",
    "a due time before all times": "UPDATE emails SET due_at = '0001-01-01 00:00:00.000000'",
    "an unknown kind of recipient": "UPDATE recipients SET kind = 'fax'",
    "an unknown status of a recipient": "UPDATE recipients SET status = 'happy'",
    "a recipient without an address": "UPDATE recipients SET address = ''",
    "no recipients": "DELETE FROM recipients",
    "attachments that have no rows": "UPDATE emails SET attached = 2",
}
ON_SQLITE = {
    "JSON that is broken": "UPDATE emails SET headers = '{'",
    "a date that is garbage": "UPDATE emails SET created_at = 'yesterday'",
    "a due time that is garbage and past": "UPDATE emails SET due_at = '-'",
    "a due time that is garbage and to come": "UPDATE emails SET due_at = 'zzz'",
    "an expiry that is a number": "UPDATE emails SET expires_at = 7",
    "attempts that are a word": "UPDATE emails SET attempts = 'many'",
    "a subject that is no UTF-8": "UPDATE emails SET subject = CAST(x'ff80' AS TEXT)",
    "a body of bytes": "UPDATE emails SET body = x'00ff'",
    "a reply code that is a word": "UPDATE recipients SET code = 'ok'",
    "a name of bytes": "UPDATE recipients SET name = x'ff'",
}
ON_POSTGRES = {
    "a time before the calendar of Python": "UPDATE emails SET created_at = '4000-01-01 00:00:00+00 BC'",
    "an infinite time that is past": "UPDATE emails SET due_at = '-infinity'",
    "an infinite time to come": "UPDATE emails SET date = 'infinity'",
}


async def damage(box: Outlet | Outspool, statement: str, email: Email) -> None:
    """Run one UPDATE or DELETE on the rows of `email` alone."""
    column = "id" if "emails" in statement else "email_id"
    raw = str(email.id) if box.database.is_postgres else email.id.hex
    one = sa.text(f"{statement} WHERE {column} = '{raw}'")
    await box.database.write(lambda connection: connection.execute(one))


async def status_in_database(box: Outlet | Outspool, email: Email) -> str:
    raw = str(email.id) if box.database.is_postgres else email.id.hex
    one = sa.text("SELECT status FROM emails WHERE CAST(id AS TEXT) = :raw")
    return str(await box.database.read(lambda connection: connection.scalar(one, {"raw": raw})))


def cases() -> list[Any]:
    return [
        *(pytest.param("sqlite", name, id=f"sqlite-{name}") for name in (ON_BOTH | ON_SQLITE)),
        *(pytest.param("postgres", name, id=f"postgres-{name}") for name in (ON_BOTH | ON_POSTGRES)),
    ]


@pytest.fixture
async def box(request: pytest.FixtureRequest) -> AsyncIterator[Outlet]:
    """Return an outbox on the database that the test names."""
    url = request.getfixturevalue(f"{request.getfixturevalue('kind')}_url")
    async with outlet(url) as opened:
        yield opened


@pytest.mark.parametrize(("kind", "name"), cases())
async def test_what_cannot_be_read_is_set_aside_and_others_are_claimed_listed_and_due(
    box: Outlet, kind: str, name: str
) -> None:
    del kind
    good, bad, later = an_email(), an_email(), an_email(due=NOW + timedelta(hours=1))
    for email in (good, bad, later):
        await box.accept(email)
    await damage(box, (ON_BOTH | ON_SQLITE | ON_POSTGRES)[name], bad)
    shown = {email.id: email for email in (await box.store.find(Search(), EVERYTHING)).emails}
    assert shown.keys() == {good.id, bad.id, later.id}
    if "body" not in name:  # which no list reads
        assert shown[bad.id].status is S.UNREADABLE
        assert shown[bad.id].problem is not None
    assert shown[good.id].status is S.QUEUED
    assert [email.id for email in await box.claim()] == [good.id]
    assert await box.queue.next_due(after=NOW, deferred_too=True) == later.due_at
    found = await box.store.get(bad.id, EVERYTHING)
    assert found is not None
    assert found.unreadable
    assert found.problem is not None
    assert "retry" in found.problem.hint
    assert not await box.claim(), "it is never given to anybody"
    assert await box.queue.rescue(now=NOW + timedelta(minutes=5), resend_marked=False) == 1  # the good one


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_an_expired_row_of_another_lane_stops_nobody(box: Outlet, kind: str, request: Any) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    async with outlet(url, identity="elsewhere") as elsewhere:
        late = await elsewhere.accept(an_email(at=NOW - timedelta(days=9)))
        await damage(elsewhere, ON_BOTH["an unknown priority"], late)
    good = await box.accept(an_email())
    assert [email.id for email in await box.claim()] == [good.id]
    assert await status_in_database(box, late) == S.UNREADABLE


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_many_unreadable_rows_do_not_take_the_places_of_others(box: Outlet, kind: str) -> None:
    del kind
    for _ in range(25):
        await damage(box, ON_BOTH["an unknown priority"], await box.accept(an_email()))
    good = [await box.accept(an_email()) for _ in range(4)]
    assert [email.id for email in await box.claim(limit=3)] == [email.id for email in good[:3]]


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_a_row_whose_id_is_none_stops_neither_claims_nor_rescues_nor_lists(box: Outlet, kind: str) -> None:
    del kind
    good, bad = await box.accept(an_email()), await box.accept(an_email())
    with contextlib.closing(sqlite3.connect(box.database.sqlite_path, isolation_level=None)) as stranger:
        stranger.execute("UPDATE emails SET id = 'nobody' WHERE id = ?", [bad.id.hex])
    assert [email.id for email in (await box.store.find(Search(), EVERYTHING)).emails] == [good.id]
    assert [email.id for email in await box.claim()] == [good.id]
    with contextlib.closing(sqlite3.connect(box.database.sqlite_path, isolation_level=None)) as stranger:
        stranger.execute("UPDATE emails SET status = 'sending', lease_until = '2020-01-01 00:00:00'")
    assert await box.queue.rescue(now=NOW, resend_marked=False) == 1
    assert await box.store.counts(EVERYTHING) == {S.UNREADABLE: 1, S.QUEUED: 1}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_an_event_that_cannot_be_read_says_so_in_its_place(box: Outlet, kind: str) -> None:
    email = await box.accept(an_email())
    await damage(box, "UPDATE events SET status = 'odd'", email)
    if kind == "sqlite":
        await damage(box, "UPDATE events SET at = 'noon'", email)
    found = await box.store.get(email.id, EVERYTHING)
    assert found is not None
    [event] = found.events
    assert event.code == "unreadable"
    assert event.at == email.created_at
    assert "status" in event.detail
    assert [claimed.id for claimed in await box.claim()] == [email.id], "its history keeps it from nobody"


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_mended_row_is_readable_again(box: Outlet, kind: str) -> None:
    del kind
    email = await box.accept(an_email())
    await damage(box, ON_BOTH["an unknown priority"], email)
    assert not await box.claim()
    await damage(box, "UPDATE emails SET priority = 'normal'", email)
    found = await box.store.get(email.id, EVERYTHING)
    assert found is not None
    assert (found.status, found.unreadable) == (S.UNREADABLE, "")
    assert found.content == email.content
    assert [event.code for event in found.events] == ["accepted", "unreadable"]


@pytest.fixture
def outspool(outspool: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs an outspool that polls often."""
    return partial(outspool, timings=QUICK)


async def examined(app: Outspool) -> dict[str, Finding]:
    return {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}


def run_doctor(settings: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``outspool doctor`` as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "outspool", "doctor", "--offline"],
        env=settings,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


async def test_the_doctor_names_it_mail_goes_on_and_a_person_decides(
    outspool: Callable[..., Any], sink: SmtpSink, database_url: str, tmp_path: Path
) -> None:
    async with outspool(worker=False) as client:
        bad = await client.outbox.accept(EmailRequest(to=["bad@example.com"], body="x"))
        worse = await client.outbox.accept(EmailRequest(to=["worse@example.com"], body="x"))
        await damage(client, ON_BOTH["an unknown priority"], bad)
        await damage(client, ON_BOTH["an unknown kind of recipient"], worse)
        async with outspool() as app:
            good = await app.outbox.accept(EmailRequest(to=["good@example.com"], body="x"))
            assert (await app.outbox.wait_for_outcome(good, max_wait=10)).status is S.SENT
            # The wire is for what can be read alone.
            found = (await examined(app))["unreadable"]
            assert found.level is Level.FAIL
            assert str(bad.id) in found.finding
            assert "priority" in found.finding
            assert "outspool retry" in found.fix
            with pytest.raises(WrongState, match="cannot be read"):
                await app.outbox.retry(str(bad.id))
            await damage(client, "UPDATE emails SET priority = 'normal'", bad)
            mended = await app.outbox.retry(str(bad.id))
            assert (await app.outbox.wait_for_outcome(mended, max_wait=10)).status is S.SENT
            assert (await app.outbox.cancel(str(worse.id))).unreadable
            assert await status_in_database(app, worse) == S.CANCELED
    assert sorted(mail.recipients[0] for mail in sink.messages()) == ["bad@example.com", "good@example.com"]
    done = await asyncio.to_thread(run_doctor, environment(tmp_path, sink, database_url), tmp_path)
    assert done.returncode == 1
    assert f"FAIL  unreadable   1 email cannot be read from the database. {worse.id}" in done.stdout


async def test_a_series_that_cannot_be_read_is_set_aside_and_others_go_on(
    outspool: Callable[..., Any], sink: SmtpSink
) -> None:
    every_minute = When(recurrence="* * * * *", timezone="UTC")
    async with outspool(worker=False) as app:
        bad = await app.outbox.accept(EmailRequest(to=["bad@example.com"], body="x"), when=every_minute)
        good = await app.outbox.accept(EmailRequest(to=["good@example.com"], body="x"), when=every_minute)
        await damage(app, 'UPDATE emails SET recurrence = \'{"cron": "never"}\'', bad)
        past = sa.text("UPDATE emails SET due_at = '2026-01-01 00:00:00.000000' WHERE status = 'recurring'")
        if app.database.is_postgres:
            past = sa.text("UPDATE emails SET due_at = '2026-01-01 00:00:00+00' WHERE status = 'recurring'")
        await app.database.write(lambda connection: connection.execute(past))
        await app.occurrences.make_due(now=app.clock.now())
        assert await status_in_database(app, bad) == S.UNREADABLE
        made = await app.outbox.find(series=str(good.id))
        assert len(made.emails) == 1
        await app.outbox.find()
    del sink


async def test_an_account_or_a_worker_that_cannot_be_read_stops_nothing(
    outspool: Callable[..., Any], database_url: str
) -> None:
    if database_url.startswith("postgres"):
        pytest.skip("Postgres keeps no garbage in a column of times")
    async with outspool(worker=False) as app:
        await app.account.state()
        garbage = (
            "INSERT INTO accounts VALUES ('{}', 'noon', 'x', '', '', '', '')",
            "INSERT INTO workers (name, seen_at, skew_seconds) VALUES ('odd', 'zzz', 'fast')",
        )
        for statement in garbage:
            one = sa.text(statement.format(app.account.name))
            await app.database.write(lambda connection, one=one: connection.execute(one))
    async with outspool() as app:
        email = await app.outbox.accept(EmailRequest(to=["good@example.com"], body="x"))
        assert (await app.outbox.wait_for_outcome(email, max_wait=10)).status is S.SENT
        assert (await examined(app))["dispatching"].level is Level.OK


async def test_the_same_key_again_finds_an_unreadable_twin_and_sends_no_second(
    outspool: Callable[..., Any], sink: SmtpSink
) -> None:
    async with outspool(worker=False) as app:
        draft = EmailRequest(to=["ann@example.com"], body="x")
        first = await app.outbox.accept(draft, idempotency_key="k")
        await damage(app, ON_BOTH["an unknown priority"], first)
        again = await app.outbox.accept(draft, idempotency_key="k")
    assert again.id == first.id
    assert again.status is S.UNREADABLE
    assert replace(again, problem=None).unreadable
    assert not sink.messages()
