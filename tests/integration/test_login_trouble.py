"""A refused login is retried rarely, however often processes start, and at once when it has been changed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import timedelta

import pytest
from support.outbox_samples import read_pause
from support.set_clock import SetClock
from support.smtp_sink import SmtpSink

from outspool.app.runtime import Outspool
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]

ANN = EmailRequest(to=["ann@example.com"], body="x")

SINK = {"username": "ada", "password": "right"}
"""The server wants a login."""


async def test_a_refused_login_is_not_tried_by_every_start_but_a_mended_one_is(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    for _ in range(4):
        async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="wrong") as app:
            email = await app.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
            async with asyncio.timeout(60):
                while email.status is not S.DEFERRED:
                    email = await app.outbox.wait_for_outcome(email, max_wait=20)
            assert email.problem is not None
            assert "wrong" not in str(email.problem)
    assert sink.connections() == 1
    async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="right") as app:
        email = await app.outbox.wait_for_outcome(
            await app.outbox.accept(EmailRequest(to=["ann@example.com"], body="x")), max_wait=20
        )
        await sink.wait_for(5)
    assert len(sink.messages()) == 5


async def test_what_was_said_of_an_old_password_is_never_told_of_a_new_one(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="wrong") as app:
        old = await app.outbox.wait_for_outcome(await app.outbox.accept(ANN), max_wait=20)
        assert old.status is S.DEFERRED
        assert await read_pause(app.outbox) is not None
    sink.fail(auth="wait 1")  # long enough to ask in the middle of it
    async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="right") as app:
        email = await app.outbox.accept(ANN)
        assert await read_pause(app.outbox) is None
        email = await app.outbox.wait_for_outcome(email, max_wait=30)
        assert (email.status, email.problem) == (S.SENT, None)
        assert await read_pause(app.outbox) is None
        await sink.wait_for(2)


async def test_a_process_with_the_old_password_goes_on_resting(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="wrong") as stale:
        await stale.outbox.wait_for_outcome(await stale.outbox.accept(ANN), max_wait=20)
        async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="right") as app:
            await sink.wait_for(1)
            assert await read_pause(app.outbox) is None
        assert await read_pause(stale.outbox) is not None
    assert [mail.user for mail in sink.messages()] == ["ada"]


async def test_an_email_waits_for_the_trial_that_is_under_way(outspool: OpenOutspool, sink: SmtpSink) -> None:
    login = {"SMTP_USERNAME": "ada", "SMTP_PASSWORD": "right"}
    sink.fail(greeting="554 No service")
    async with outspool(**login) as app:
        old = await app.outbox.wait_for_outcome(await app.outbox.accept(ANN), max_wait=20)
        assert old.status is S.DEFERRED
    sink.fail(auth="wait 1")
    async with outspool(**login) as app:
        async with asyncio.timeout(20):
            while (await app.outbox.get(str(old.id))).status is not S.SENDING:
                await asyncio.sleep(0.01)
        email = await app.outbox.wait_for_outcome(await app.outbox.accept(ANN), max_wait=30)
        assert (email.status, email.problem) == (S.SENT, None)


@pytest.mark.slow
async def test_three_processes_and_their_restarts_try_a_wrong_password_a_handful_of_times_an_hour(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    tries = [0]
    for _hour in range(3):
        for _restart in range(3):
            async with AsyncExitStack() as stack:
                apps = [
                    await stack.enter_async_context(
                        outspool(clock=clock, SMTP_USERNAME="ada", SMTP_PASSWORD="wrong", SMTP_CONNECTIONS=4)
                    )
                    for _ in range(3)
                ]
                for app in apps * 4:
                    await app.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
                    clock.pass_by(timedelta(minutes=20) / 12)
                    for other in apps:
                        other.changes.announce(due=True)
                    await quiet()
        tries.append(sink.connections())
    per_hour = [after - before for before, after in itertools.pairwise(tries)]
    assert 3 <= per_hour[0] <= 6, per_hour
    assert max(per_hour[1:]) <= 2, per_hour


async def quiet() -> None:
    """Return when no email of this process is carried any more."""
    for _ in range(3):
        await asyncio.sleep(0.02)
        while any(task.get_name().startswith("email-") for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
