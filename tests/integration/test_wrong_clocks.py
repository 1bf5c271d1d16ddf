"""A wrong clock expires no mail: Postgres has its own clock, and on SQLite a jump suspends expiry."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.set_clock import SetClock
from support.smtp_sink import SmtpSink
from support.variables import environment

from outspool.adapters.sql.tables import emails
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.timings import Timings

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
QUICK = Timings(beat_seconds=0.1, poll_seconds=0.1)
DAYS = timedelta(days=6)
YEAR = timedelta(days=365)


def a_clock(span: timedelta) -> SetClock:
    clock = SetClock()
    clock.step(span)
    return clock


async def accept(app: Outspool, to: str = "ann@example.com", **when: Any) -> Email:
    return await app.outbox.accept(EmailRequest(to=[to], body="x"), when=When(**when) if when else None)


async def until(app: Outspool, email: Email, *statuses: EmailStatus) -> Email:
    async with asyncio.timeout(20):
        while (now := await app.operators_outbox().get(str(email.id))).status not in statuses:
            await asyncio.sleep(0.02)
    return now


async def statuses(app: Outspool, sent: list[Email]) -> set[EmailStatus]:
    return {(await app.operators_outbox().get(str(email.id))).status for email in sent}


async def beats(app: Outspool, number: int = 3) -> None:
    """Return after some heartbeats of the one worker."""
    seen: set[datetime] = set()
    async with asyncio.timeout(20):
        while len(seen) < number:
            seen |= {worker.seen_at for worker in await app.queue.workers(since=datetime(1970, 1, 1, tzinfo=UTC))}
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("span", [DAYS, -DAYS, timedelta(days=200)])
async def test_on_postgres_a_worker_whose_clock_is_wrong_works_by_the_databases(
    outspool: OpenOutspool, postgres_url: str, sink: SmtpSink, caplog: pytest.LogCaptureFixture, span: timedelta
) -> None:
    caplog.set_level(logging.INFO, logger="outspool")
    there = {"DATABASE_URL": postgres_url}
    async with outspool(worker=False, **there) as client:
        later = await accept(client, "later@example.com", delay="PT100H")
        series = await accept(client, "s@example.com", recurrence="0 9 1 * *", timezone="UTC")
        other = {"EMAIL_FROM": "other@example.com"}
        async with outspool(worker=False, **there, **other) as stranger:
            theirs = await accept(stranger, "x@example.com")
        async with (
            outspool(machine_clock=a_clock(span), timings=QUICK, **there) as wrong,
            outspool(timings=QUICK, **there),
        ):
            fresh = [await accept(client, f"r{n}@example.com") for n in range(20)]
            fresh += [await accept(wrong, f"w{n}@example.com") for n in range(3)]
            for email in fresh:
                await until(client, email, S.SENT, S.FAILED)
            await beats(client)
            assert await statuses(client, fresh) == {S.SENT}
            assert await statuses(client, [later]) == {S.SCHEDULED}
            assert await statuses(client, [theirs]) == {S.QUEUED}
            assert (await client.operators_outbox().get(str(series.id))).due_at == series.due_at
    assert len(sink.messages()) == 23
    said = [record.getMessage() for record in caplog.records if "clock of this machine" in record.getMessage()]
    assert len(said) == 1
    assert f"{abs(span).days * 86400:,} s {'ahead of' if span > timedelta() else 'behind'} the database's" in said[0]


async def test_on_postgres_a_clock_that_is_set_while_running_moves_nothing(
    outspool: OpenOutspool, postgres_url: str
) -> None:
    clock = SetClock()
    async with outspool(machine_clock=clock, timings=QUICK, DATABASE_URL=postgres_url) as app:
        later = await accept(app, delay="PT100H")
        clock.step(YEAR)
        assert abs(app.clock.now() - datetime.now(UTC)) < timedelta(seconds=5)
        await until(app, await accept(app), S.SENT)
        assert await statuses(app, [later]) == {S.SCHEDULED}


async def two_that_wait(app: Outspool) -> tuple[Email, Email]:
    """Accept an email that comes due in an hour, and a series."""
    scheduled = await accept(app, "later@example.com", delay="PT1H")
    return scheduled, await accept(app, "s@example.com", recurrence="0 9 1 * *", timezone="UTC")


async def test_a_clock_that_is_a_year_ahead_for_a_while_ends_nothing_and_moves_no_series(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    async with outspool(clock=clock, timings=QUICK) as app:
        scheduled, series = await two_that_wait(app)
        await beats(app)
        clock.step(YEAR)
        await beats(app)
        await until(app, await accept(app, "fresh@example.com"), S.SENT)
        clock.step(-YEAR)
        await beats(app)
        assert await statuses(app, [scheduled]) == {S.SCHEDULED}
        assert (await app.operators_outbox().get(str(series.id))).due_at == series.due_at
    assert [mail.recipients for mail in sink.messages()] == [("fresh@example.com",)]


async def test_a_jump_that_lasts_is_believed_after_five_minutes_and_the_untried_is_sent_and_not_expired(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    async with outspool(clock=clock, timings=QUICK) as app:
        scheduled, _ = await two_that_wait(app)
        await beats(app)
        clock.step(YEAR)
        await beats(app)
        assert await statuses(app, [scheduled]) == {S.SCHEDULED}
        clock.pass_by(timedelta(minutes=5))
        assert (await until(app, scheduled, S.SENT, S.FAILED)).status is S.SENT
    assert ("later@example.com",) in [mail.recipients for mail in sink.messages()]


async def test_when_the_machine_slept_what_is_out_of_time_expires_as_ever(outspool: OpenOutspool) -> None:
    clock = SetClock()
    async with outspool(clock=clock, timings=QUICK) as app:
        scheduled = await accept(app, delay="PT1H")
        await beats(app)
        clock.pass_by(YEAR)
        expired = await until(app, scheduled, S.SENT, S.FAILED)
    assert expired.problem is not None
    assert expired.problem.code == "expired"


async def test_of_two_workers_the_one_that_starts_six_days_ahead_expires_nothing(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool(worker=False) as client:
        stranger = {"EMAIL_FROM": "other@example.com"}
        async with outspool(worker=False, **stranger) as other:
            theirs = await accept(other, "x@example.com")
        fresh = [await accept(client, f"r{n}@example.com") for n in range(10)]
        async with outspool(clock=a_clock(DAYS), timings=QUICK) as wrong:
            await beats(wrong)
            assert await statuses(client, fresh) == {S.QUEUED}
            async with outspool(timings=QUICK):
                for email in fresh:
                    await until(client, email, S.SENT, S.FAILED)
        assert await statuses(client, fresh) == {S.SENT}
        assert await statuses(client, [theirs]) == {S.QUEUED}
    assert len(sink.messages()) == 10


async def test_what_a_wrong_clock_put_off_is_due_again_and_its_series_is_recalculated(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    now = datetime.now(UTC)
    async with outspool(worker=False) as app:
        series = await accept(app, "s@example.com", recurrence="0 9 1 * *", timezone="UTC")
        deferred, queued = await accept(app, "defer@example.com"), await accept(app, "q@example.com")
        planned = await accept(app, "planned@example.com", delay="P20D")
        moved = await accept(app, "moved@example.com")
        wrong: list[tuple[Email, dict[str, Any]]] = [
            (series, {"due_at": now + timedelta(days=400)}),
            (deferred, {"status": "deferred", "due_at": now + YEAR, "expires_at": now + 2 * YEAR}),
            (queued, {"due_at": now + YEAR, "expires_at": now + 2 * YEAR}),
            (moved, {"status": "deferred", "due_at": now + 20 * DAYS, "scheduled_at": now + 20 * DAYS}),
        ]
        for email, values in wrong:
            statement = emails.update().where(emails.c.id == email.id).values(values)
            await app.database.write(lambda connection, statement=statement: connection.execute(statement))  # type: ignore[misc]
    async with outspool(timings=QUICK) as app:
        for email in (deferred, queued):
            clamped = await until(app, email, S.SENT)
            assert "clamped" in [event.code for event in clamped.events]
        await beats(app)
        mended = await app.operators_outbox().get(str(series.id))
        assert mended.due_at == series.due_at
        assert mended.events[-1].code == "recalculated"
        assert await statuses(app, [planned]) == {S.SCHEDULED}
        assert await statuses(app, [moved]) == {S.DEFERRED}
    assert len(sink.messages()) == 2


FAKETIME = shutil.which("faketime")


@contextmanager
def worker_at(span: str, variables: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run an ``outspool worker`` whose clocks libfaketime has set."""
    assert FAKETIME is not None
    with (folder / "worker.log").open("a") as log:
        command = [FAKETIME, "-f", span, sys.executable, "-m", "outspool", "worker"]
        child = subprocess.Popen(command, env=variables, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield child
        finally:
            os.killpg(child.pid, 15)
            child.wait(20)


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="faketime (libfaketime) is not installed")
async def test_a_real_worker_six_days_ahead_ends_nothing(
    outspool: OpenOutspool, sink: SmtpSink, database_url: str, tmp_path: Path
) -> None:
    variables = environment(tmp_path / "data", sink, database_url)
    async with outspool(worker=False) as client:
        later = await accept(client, "later@example.com", delay="PT100H")
        fresh = [await accept(client, f"r{n}@example.com") for n in range(10)]
        with worker_at("+6d", variables, tmp_path):
            async with asyncio.timeout(30):
                while not await client.queue.workers(since=datetime(1970, 1, 1, tzinfo=UTC)):
                    await asyncio.sleep(0.05)
            async with outspool(timings=QUICK):
                for email in fresh:
                    await until(client, email, S.SENT, S.FAILED)
            assert await statuses(client, fresh) == {S.SENT}
            if database_url.startswith("postgres"):
                assert await statuses(client, [later]) == {S.SCHEDULED}
    log = (tmp_path / "worker.log").read_text()
    assert "clock" in log.lower(), log[-2000:]
