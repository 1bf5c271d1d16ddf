"""Processes that die, stall and race; deliveries are counted at the SMTP server."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from support.smtp_sink import SmtpSink
from support.variables import environment
from support.workers import Worker

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus
CONNECTIONS = 4


@asynccontextmanager
async def client(variables: dict[str, str]) -> AsyncIterator[Outspool]:
    """Run an outspool that accepts and does not deliver."""
    app = Outspool(Settings.load(variables))
    async with app.run(worker=False):
        yield app


async def accept(app: Outspool, count: int) -> list[Email]:
    return [await app.outbox.accept(EmailRequest(to=[f"r{n}@example.com"], body="x")) for n in range(count)]


async def settled(app: Outspool, *, max_wait: float) -> dict[EmailStatus, int]:
    """Wait until nothing is due or under way, and return the counts by status."""
    async with asyncio.timeout(max_wait):
        while True:
            counts = dict((await app.outbox.find()).counts)
            if not counts.keys() & {S.QUEUED, S.SENDING, S.DEFERRED}:
                return counts
            await asyncio.sleep(0.2)


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_two_workers_send_500_emails_once_each(tmp_path: Path, postgres_url: str) -> None:
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, postgres_url)
        async with client(variables) as app:
            await accept(app, 500)
            with Worker(variables, tmp_path), Worker(variables, tmp_path):
                counts = await settled(app, max_wait=120)
        assert counts == {S.SENT: 500}
        assert Counter(mail.recipients[0] for mail in sink.messages()) == {f"r{n}@example.com": 1 for n in range(500)}


@pytest.mark.timeout(240)
@pytest.mark.slow
async def test_two_stdio_servers_on_one_file_send_500_emails_once_each(tmp_path: Path, sqlite_url: str) -> None:
    with SmtpSink(tmp_path) as sink, (tmp_path / "stdio.log").open("w") as log:
        variables = environment(tmp_path / "data", sink, sqlite_url)
        server = StdioServerParameters(command=sys.executable, args=["-m", "outspool"], env=variables)
        async with client(variables) as app:
            await accept(app, 500)
            async with Client(stdio_client(server, errlog=log)), Client(stdio_client(server, errlog=log)):
                counts = await settled(app, max_wait=200)
                workers = await app.queue.workers(since=app.clock.now() - timedelta(minutes=1))
        assert len(workers) == 2
        assert counts == {S.SENT: 500}
        assert Counter(mail.recipients[0] for mail in sink.messages()) == {f"r{n}@example.com": 1 for n in range(500)}


@pytest.mark.timeout(300)
@pytest.mark.slow
async def test_after_ten_kills_every_email_arrived_once_or_is_in_doubt(tmp_path: Path, database_url: str) -> None:
    chance = random.Random(7)
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, database_url, EMAIL_BATCH_SIZE="12")
        async with client(variables) as app:
            emails = await accept(app, 300)
            for kills in range(10):
                taken = len(sink.messages())
                with Worker(variables, tmp_path) as worker:
                    await sink.wait_for(min(taken + chance.randint(1, 12), 300), timeout=30)
                    await asyncio.sleep(chance.random() / 50)
                    worker.kill()
                assert len(sink.messages()) < 300, f"all was sent before kill {kills + 1}"
            with Worker(variables, tmp_path):
                counts = await settled(app, max_wait=90)  # a lease is 30 s: none is stuck a minute later
            after = [await app.outbox.get(str(email.id)) for email in emails]
    arrived = Counter(mail.message_id for mail in sink.messages())
    assert max(arrived.values()) == 1
    for email in after:
        assert email.status is S.UNKNOWN or (email.status is S.SENT and arrived[email.message_id] == 1), email
    assert counts[S.SENT] + counts.get(S.UNKNOWN, 0) == 300
    assert counts.get(S.UNKNOWN, 0) <= 10 * CONNECTIONS


@pytest.mark.timeout(180)
@pytest.mark.slow
async def test_a_worker_that_slept_through_its_lease_sends_nothing_twice(tmp_path: Path, postgres_url: str) -> None:
    with SmtpSink(tmp_path) as sink, ExitStack() as stack:
        variables = environment(tmp_path / "data", sink, postgres_url)
        async with client(variables) as app:
            emails = await accept(app, 60)
            sleeper = stack.enter_context(Worker(variables, tmp_path))
            await sink.wait_for(5, timeout=30)
            sleeper.signal(signal.SIGSTOP)
            with Worker(variables, tmp_path):
                await settled(app, max_wait=90)
                sleeper.signal(signal.SIGCONT)
                await asyncio.sleep(3)
                counts = await settled(app, max_wait=30)
            arrived = Counter(mail.message_id for mail in sink.messages())
            after = [await app.outbox.get(str(email.id)) for email in emails]
        assert max(arrived.values()) == 1
        assert all(arrived[email.message_id] == 1 for email in after if email.status is S.SENT)
        assert counts[S.SENT] >= 60 - CONNECTIONS


@pytest.mark.timeout(120)
async def test_a_worker_asked_to_stop_ends_well_and_leaves_nothing_half_done(tmp_path: Path, sqlite_url: str) -> None:
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, sqlite_url)
        async with client(variables) as app:
            await accept(app, 200)
            with Worker(variables, tmp_path) as worker:
                await sink.wait_for(10, timeout=30)
                assert worker.terminate() == 0
            counts = dict((await app.outbox.find()).counts)
            assert counts.keys() <= {S.QUEUED, S.SENT}
            assert counts[S.SENT] == len(sink.messages()) < 200
