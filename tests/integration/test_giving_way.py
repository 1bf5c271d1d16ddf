"""Claimed emails that are not yet in delivery give way to more urgent ones, even on a slow server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from support.smtp_sink import SmtpSink

from outspool.adapters.files.disk_check import disk_state, has_working_locks
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.queue_checks import check_disk

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


async def accept(app: Outspool, to: str, priority: str = "normal") -> Email:
    return await app.outbox.accept(EmailRequest(to=[to], body="x", priority=priority))


async def until(app: Outspool, email: Email, status: EmailStatus) -> None:
    async with asyncio.timeout(30):
        while (await app.outbox.get(str(email.id))).status is not status:
            await asyncio.sleep(0.02)


async def test_a_high_email_leaves_before_what_was_claimed_before_it(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(worker=False) as client:
        slow = [await accept(client, f"slow-{n}@example.com") for n in range(4)]
        async with outspool(SMTP_CONNECTIONS=1):
            for email in slow[:3]:
                await until(client, email, S.SENDING)
            high = await accept(client, "urgent@example.com", "high")
            await until(client, high, S.SENT)
            for email in slow:
                await until(client, email, S.SENT)
        past = [event.code for event in (await client.outbox.get(str(slow[2].id))).events]
    order = [mail.recipients[0] for mail in sink.messages()]
    assert order[:2] == ["slow-0@example.com", "urgent@example.com"]
    assert sorted(order) == sorted(["urgent@example.com", *(f"slow-{n}@example.com" for n in range(4))])
    assert past[:3] == ["accepted", "claimed", "handed_back"]


async def test_what_is_no_more_urgent_has_nobody_give_way(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(worker=False) as client:
        slow = [await accept(client, f"slow-{n}@example.com") for n in range(3)]
        async with outspool(SMTP_CONNECTIONS=1):
            for email in slow:
                await until(client, email, S.SENDING)
            for n in range(5):
                await accept(client, f"later{n}@example.com")
            for email in slow:
                await until(client, email, S.SENT)
        pasts = [[event.code for event in (await client.outbox.get(str(email.id))).events] for email in slow]
    assert pasts == [["accepted", "claimed", "sent"]] * 3
    del sink


def test_the_doctor_tries_the_locks_of_the_file_system(tmp_path: Path) -> None:
    assert has_working_locks(tmp_path)
    assert has_working_locks(tmp_path / "none")
    assert check_disk(disk_state(tmp_path, needs_locks=True)).level == "ok"
    assert not list(tmp_path.iterdir())


def test_locks_that_keep_nobody_out_are_noticed(tmp_path: Path) -> None:
    # A file system whose locks do nothing cannot be made here: so the lock is taken by nobody.
    assert not has_working_locks(tmp_path, take=lambda _descriptor: None)


def test_locks_that_are_refused_are_noticed(tmp_path: Path) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(37, "No locks available")

    assert not has_working_locks(tmp_path, take=refuse)
