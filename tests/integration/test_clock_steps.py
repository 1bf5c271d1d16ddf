"""The clock is set, or was never right: nothing is lost or sent twice, and no worker seems dead for long."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
from support.set_clock import SetClock
from support.smtp_sink import SmtpSink

from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.timings import Timings
from outspool.services.doctor.findings import Level

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
QUICK = Timings(beat_seconds=0.1, poll_seconds=0.1)
HOURS = timedelta(hours=3)


async def accept(app: Outspool, to: str = "ann@example.com", *, delay: str | None = None) -> Email:
    return await app.outbox.accept(EmailRequest(to=[to], body="x"), when=When(delay=delay) if delay else None)


async def until(app: Outspool, email: Email, *statuses: EmailStatus) -> Email:
    async with asyncio.timeout(20):
        while (now := await app.outbox.get(str(email.id))).status not in statuses:
            await asyncio.sleep(0.02)
    return now


async def until_seen(app: Outspool, clock: SetClock) -> None:
    """Return when the worker has shown itself after this moment, by the clock as it is now."""
    now = clock.now()
    async with asyncio.timeout(10):
        while not any(now <= w.seen_at <= clock.now() for w in await app.queue.workers(since=now)):
            await asyncio.sleep(0.02)


async def test_a_clock_set_back_stops_neither_heartbeats_nor_sending_and_hurries_nothing(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    async with outspool(clock=clock, timings=QUICK) as app:
        later = await accept(app, "later@example.com", delay="PT1H")
        await until_seen(app, clock)
        clock.step(-HOURS)
        await until_seen(app, clock)
        await until(app, await accept(app), S.SENT)
        assert (await app.outbox.get(str(later.id))).status is S.SCHEDULED
        clock.pass_by(HOURS + timedelta(hours=1))
        await until(app, later, S.SENT)
    assert len(sink.messages()) == 2


async def test_what_comes_due_by_a_clock_set_forward_leaves_by_the_next_poll(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    async with outspool(clock=clock, timings=QUICK) as app:
        email = await accept(app, delay="PT1H")
        await until_seen(app, clock)
        clock.step(HOURS)
        await until(app, email, S.SENT)
        await until_seen(app, clock)
    assert len(sink.messages()) == 1


@pytest.mark.parametrize("step", [HOURS, -HOURS])
async def test_a_process_whose_clock_is_hours_off_takes_work_from_the_living_and_nothing_leaves_twice(
    outspool: OpenOutspool, sink: SmtpSink, step: timedelta
) -> None:
    wrong = SetClock()
    wrong.step(step)
    addresses = ["slow-ann@example.com", *(f"r{n}@example.com" for n in range(12))]
    async with outspool(worker=False) as client:
        emails = [await accept(client, to) for to in addresses]
        async with outspool(timings=QUICK, SMTP_CONNECTIONS=1) as right:
            await until(client, emails[0], S.SENDING)
            await asyncio.sleep(0.3)  # it is marked, and on the wire for two seconds
            # A right clock behind a wrong one sees leases that seem to be over, and so does a wrong one ahead.
            async with outspool(clock=wrong, timings=replace(QUICK, beat_seconds=0.05), SMTP_CONNECTIONS=1):
                for email in emails:
                    await until(client, email, S.SENT)
            del right
        after = await client.outbox.get(str(emails[0].id))
    if step > timedelta():
        assert [event.code for event in after.events] == ["accepted", "claimed", "worker_lost", "sent"]
    assert Counter(mail.recipients[0] for mail in sink.messages()) == dict.fromkeys(addresses, 1)


async def test_a_worker_whose_clock_differs_from_the_databases_is_named_and_says_so_once(
    outspool: OpenOutspool, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="outspool")
    clock = SetClock()
    clock.step(timedelta(seconds=12))
    async with outspool(worker=False) as person, outspool(clock=clock, timings=QUICK) as app:
        await until_seen(app, clock)
        findings = [finding async for finding in build_doctor(person, offline=True).examine()]
        clock.step(timedelta(seconds=-12))
        await until_seen(app, clock)
        await until_seen(app, clock)
    said = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    named = [finding for finding in findings if finding.name == "worker clocks"]
    if not database_url.startswith("postgres"):
        assert not named  # its database has no clock but the machine's own
        assert not said
        return
    (finding,) = named
    assert finding.level is Level.WARN
    assert re.search(r"1[0-3] s ahead of the database's", finding.finding), (
        "twelve seconds, less what a slow machine adds"
    )
    assert "NTP" in finding.fix
    assert len(said) == 2
    assert re.search(r"1[0-3] s ahead", said[0])
    assert "agree again" in said[1]
