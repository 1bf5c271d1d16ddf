"""A worker suspended for longer than its lease, anywhere before DATA, sends nothing when it resumes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support import stalling_worker
from support.smtp_sink import SmtpSink
from support.variables import environment

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus


@asynccontextmanager
async def outspool(variables: Mapping[str, str], *, worker: bool) -> AsyncIterator[Outspool]:
    app = Outspool(Settings.load(variables), timings=replace(stalling_worker.PACE, beat_seconds=0.3))
    async with app.run(worker=worker):
        yield app


@contextmanager
def sleeper(point: str, variables: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker that stops itself at `point`."""
    command = [sys.executable, stalling_worker.__file__, point]
    support = str(Path(stalling_worker.__file__).parents[1])
    path = os.pathsep.join(part for part in (support, os.environ.get("PYTHONPATH", "")) if part)
    with (folder / "sleeper.log").open("a") as log:
        process = subprocess.Popen(command, env={**variables, "PYTHONPATH": path}, cwd=folder, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(30)


async def until_stopped(process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(30):
        while not _has_stopped(process):
            await asyncio.sleep(0.02)


def _has_stopped(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG) is not None


async def until(app: Outspool, email: Email, status: EmailStatus) -> Email:
    async with asyncio.timeout(30):
        while (now := await app.outbox.get(str(email.id))).status is not status:
            await asyncio.sleep(0.02)
    return now


async def until_said(folder: Path, words: str) -> None:
    """Return when the sleeper, awake again, has said so."""
    async with asyncio.timeout(30):
        while words not in (folder / "sleeper.log").read_text():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("point", ["claimed", "marking"])
async def test_what_a_worker_held_unmarked_is_sent_by_another_and_not_by_it_when_it_wakes(
    point: str, tmp_path: Path, database_url: str
) -> None:
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, database_url)
        async with outspool(variables, worker=False) as client:
            email = await client.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
            with sleeper(point, variables, tmp_path) as process:
                await until_stopped(process)
                async with outspool(variables, worker=True):
                    await until(client, email, S.SENT)
                process.send_signal(signal.SIGCONT)
                await until_said(tmp_path, "is no longer ours")
            after = await client.outbox.get(str(email.id))
        assert [mail.message_id for mail in sink.messages()] == [email.message_id]
        assert after.status is S.SENT
        assert after.attempts == 1


async def test_what_it_had_marked_and_a_person_had_sent_again_it_does_not_send_when_it_wakes(
    tmp_path: Path, database_url: str
) -> None:
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, database_url)
        async with outspool(variables, worker=False) as client:
            email = await client.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
            with sleeper("marked", variables, tmp_path) as process:
                await until_stopped(process)
                async with outspool(variables, worker=True):
                    await until(client, email, S.UNKNOWN)
                    await client.outbox.retry(str(email.id))
                    await until(client, email, S.SENT)
                process.send_signal(signal.SIGCONT)
                await until_said(tmp_path, "is no longer ours")
            after = await client.outbox.get(str(email.id))
        assert [mail.message_id for mail in sink.messages()] == [email.message_id]
        assert after.status is S.SENT


async def test_a_doubt_that_only_the_sleeper_can_solve_is_solved_when_it_wakes(
    tmp_path: Path, database_url: str
) -> None:
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, database_url)
        async with outspool(variables, worker=False) as client:
            email = await client.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
            with sleeper("marked", variables, tmp_path) as process:
                await until_stopped(process)
                async with outspool(variables, worker=True):
                    await until(client, email, S.UNKNOWN)
                    assert sink.messages() == []
                    process.send_signal(signal.SIGCONT)
                    after = await until(client, email, S.SENT)
        assert [mail.message_id for mail in sink.messages()] == [email.message_id]
        assert [event.code for event in after.events] == [
            "accepted",
            "claimed",
            "worker_lost",
            "lease_lost",
            "claimed",
            "sent",
        ]
        assert after.attempts == 1


async def test_a_worker_that_alone_held_it_sends_it_anew_when_it_wakes(tmp_path: Path, database_url: str) -> None:
    with SmtpSink(tmp_path) as sink:
        variables = environment(tmp_path / "data", sink, database_url)
        async with outspool(variables, worker=False) as client:
            email = await client.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
            with sleeper("marked", variables, tmp_path) as process:
                await until_stopped(process)
                await asyncio.sleep(stalling_worker.PACE.lease.total_seconds())
                process.send_signal(signal.SIGCONT)
                after = await until(client, email, S.SENT)
        assert [mail.message_id for mail in sink.messages()] == [email.message_id]
        assert [event.code for event in after.events] == ["accepted", "claimed", "lease_lost", "claimed", "sent"]
