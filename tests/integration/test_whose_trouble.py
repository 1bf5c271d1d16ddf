"""A refusal of one email or one connection does not stop others; one of the account stops all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from support.set_clock import SetClock
from support.smtp_sink import SmtpSink

from outspool.app.runtime import Outspool
from outspool.domain.email import Email, Priority
from outspool.domain.status import EmailStatus
from outspool.ports.account import AccountState
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


async def accept(app: Outspool, *to: str, priority: str = "normal") -> list[Email]:
    return [await app.outbox.accept(EmailRequest(to=[one], body="x", priority=priority)) for one in to]


def others(count: int) -> list[str]:
    return [f"r{n}@example.com" for n in range(count)]


async def until(app: Outspool, clock: SetClock, email: Email, *statuses: EmailStatus) -> Email:
    """Let time pass until the email stands in one of `statuses`; no more than it waits for."""
    async with asyncio.timeout(60):
        while True:
            now = await app.outbox.get(str(email.id))
            if now.status in statuses:
                return now
            pause = (await app.outbox.outlook(now)).pause
            due = max(now.due_at, pause.until) if pause else now.due_at
            if now.status is S.DEFERRED and due > clock.now():
                clock.pass_by(due - clock.now() + timedelta(milliseconds=1))
                app.changes.announce(due=True)
            await asyncio.sleep(0.02)


async def pause_is_over(app: Outspool, clock: SetClock) -> None:
    resumes = (await app.account.state()).paused_until
    assert resumes is not None
    clock.pass_by(resumes - clock.now() + timedelta(milliseconds=1))
    app.changes.announce(due=True)


async def pauses(app: Outspool, until: asyncio.Event) -> list[AccountState]:
    """Return each trouble of the account until then, once."""
    found: list[AccountState] = []
    while not until.is_set():
        state = await app.account.state()
        if state.failures == 1 and state.paused_until not in [one.paused_until for one in found]:
            found.append(state)
        await asyncio.sleep(0.005)
    return found


async def test_an_email_that_provokes_refusals_pauses_the_account_once_and_then_pays_for_itself(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock, over = SetClock(), asyncio.Event()
    async with outspool(clock=clock, SMTP_CONNECTIONS=1) as app:
        watching = asyncio.create_task(pauses(app, over))
        (poison,) = await accept(app, "busy-ann@example.com", priority=Priority.HIGH)
        await until(app, clock, poison, S.DEFERRED)
        rest = await accept(app, *others(20))
        await pause_is_over(app, clock)
        await sink.wait_for(20, timeout=40)
        poison = await until(app, clock, poison, S.FAILED)
        for email in rest:
            assert (await until(app, clock, email, S.SENT)).attempts == 1
        over.set()
        assert len(await watching) == 1
        assert await app.account.state() == AccountState()
    assert poison.attempts == 4
    assert poison.problem is not None
    assert poison.problem.code == "out_of_retries"
    assert "421 4.7.0" in poison.problem.message
    assert Counter(mail.recipients[0] for mail in sink.messages()) == dict.fromkeys(others(20), 1)


async def test_an_email_that_the_server_hangs_up_on_costs_the_others_seconds(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    clock = SetClock()
    async with outspool(clock=clock) as app:
        emails = await accept(app, "droprcpt-ann@example.com", "dropdata-bob@example.com", *others(20))
        ended = [await until(app, clock, email, S.SENT, S.FAILED) for email in emails]
        assert (await app.account.state()).failures == 0
    assert [email.status for email in ended] == [S.FAILED] * 2 + [S.SENT] * 20
    assert {email.attempts for email in ended[2:]} == {1}
    assert len(sink.messages()) == 20


async def test_one_connection_too_many_is_done_without_and_nothing_pauses(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    over = asyncio.Event()
    async with outspool(SMTP_CONNECTIONS=4) as app:
        (first,) = await accept(app, "first@example.com")
        await app.outbox.wait_for_outcome(first, max_wait=20)
        sink.fail(greeting="421 4.7.0 Too many connections")
        watching = asyncio.create_task(pauses(app, over))
        await accept(app, *others(30))
        await sink.wait_for(31, timeout=40)
        over.set()
        assert await watching == []
    assert Counter(mail.recipients[0] for mail in sink.messages()[1:]) == dict.fromkeys(others(30), 1)


async def test_a_server_that_turns_everybody_away_rests_the_account(outspool: OpenOutspool, sink: SmtpSink) -> None:
    sink.fail(greeting="421 4.7.0 Try again later")
    async with outspool(SMTP_CONNECTIONS=4) as app:
        emails = await accept(app, *others(30))
        async with asyncio.timeout(30):
            while (await app.outbox.find()).counts != {S.DEFERRED: len(emails)}:
                await asyncio.sleep(0.05)
        pause = (await app.outbox.outlook(*emails)).pause
        assert pause is not None
        assert (pause.until - app.clock.now()) > timedelta(minutes=4)
        after = [await app.outbox.get(str(email.id)) for email in emails]
    assert {email.attempts for email in after} == {0}
    assert sink.connections() <= 4


async def test_the_days_limit_rests_the_account_and_is_said(outspool: OpenOutspool, sink: SmtpSink) -> None:
    sink.fail(data="550 5.4.5 Daily user sending limit exceeded")
    async with outspool() as app:
        (email,) = await accept(app, "ann@example.com")
        email = await app.outbox.wait_for_outcome(email, max_wait=20)
        pause = (await app.outbox.outlook(email)).pause
    assert email.status is S.DEFERRED
    assert email.attempts == 0
    assert pause is not None
    assert "Daily user sending limit" in pause.reason
