"""SMTP is down for a day while a thousand emails wait: none fails, and all arrive afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.set_clock import SetClock
from support.smtp_sink import SmtpSink

from outspool.adapters.sql.tables import emails, events
from outspool.app.runtime import Outspool
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]

WAITING = 1000


async def accept(app: Outspool, count: int) -> None:
    drafts = [
        EmailRequest(to=[f"r{n}@example.com"], body="x", priority=("low", "normal", "high")[n % 3])
        for n in range(count)
    ]
    await asyncio.gather(*(app.outbox.accept(draft) for draft in drafts))


async def until_deferred(app: Outspool) -> None:
    async with asyncio.timeout(120):
        while (await app.outbox.find()).counts.keys() != {S.DEFERRED}:
            await asyncio.sleep(0.05)


async def let_pass(app: Outspool, clock: SetClock, span: timedelta) -> int:
    """Let `span` pass from pause to pause, and return how often the account was tried."""
    end, tries = clock.now() + span, 0
    async with asyncio.timeout(180):
        while clock.now() < end:
            state = await app.account.state()
            assert state.paused_until is not None
            jump(app, clock, max(min(state.paused_until, end) - clock.now(), timedelta()) + timedelta(milliseconds=1))
            if clock.now() < end:
                tries += 1
                await failed_again(app, after=state.paused_until)
    return tries


def jump(app: Outspool, clock: SetClock, span: timedelta) -> None:
    """Let time pass, and tell the dispatcher, whose alarm waits in real time."""
    clock.pass_by(span)
    app.changes.announce(due=True)


async def failed_again(app: Outspool, *, after: datetime) -> None:
    """Return when a trial is over: the account rests anew, and no email is carried."""
    while (await app.account.state()).paused_until == after or any(
        task.get_name().startswith("email-") for task in asyncio.all_tasks()
    ):
        await asyncio.sleep(0.002)


async def number(app: Outspool, statement: sa.Select[Any]) -> int:
    """Return the one number that `statement` asks for."""
    return await app.database.read(lambda connection: int(connection.execute(statement).scalar_one()))


@pytest.mark.timeout(500)
@pytest.mark.slow
async def test_a_day_without_smtp_fails_none_of_a_thousand_and_costs_none_an_attempt(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    sink.stop()
    async with outspool(clock=clock) as app:
        await accept(app, WAITING)
        await until_deferred(app)
        before = await number(app, sa.select(sa.func.count()).select_from(events))
        tries = await let_pass(app, clock, timedelta(days=1))
        assert 260 <= tries <= 335  # every five minutes, ±10 %, once they have grown to that
        await until_deferred(app)  # the last trial may still be under way
        assert await number(app, sa.select(sa.func.sum(emails.c.attempts))) == 0
        grown = await number(app, sa.select(sa.func.count()).select_from(events)) - before
        assert grown <= 2 * (tries + 10)  # a claim and its end for each trial, whatever waits
        sink.start()
        jump(app, clock, timedelta(minutes=6))
        await sink.wait_for(WAITING, timeout=180)
        async with asyncio.timeout(60):
            while (await app.outbox.find()).counts != {S.SENT: WAITING}:
                await asyncio.sleep(0.05)
        assert await number(app, sa.select(sa.func.max(emails.c.attempts))) == 1
    arrived = [mail.recipients[0] for mail in sink.messages()]
    assert Counter(arrived) == {f"r{n}@example.com": 1 for n in range(WAITING)}
