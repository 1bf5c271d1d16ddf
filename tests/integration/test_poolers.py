"""Postgres behind pgbouncer: works in session mode, and is refused with the reason otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import asyncpg
import pytest
from support.pgbouncer import pgbouncer
from support.postgres import PostgresServer
from support.smtp_sink import SmtpSink

from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.domain.status import EmailStatus
from outspool.errors import StoreMisconfigured
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.findings import Level

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
ANN = EmailRequest(to=["ann@example.com"], body="x")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Each test names its own."""
    return sqlite_url


@pytest.mark.parametrize(("mode", "pool"), [("transaction", 20), ("transaction", 1), ("statement", 20)])
async def test_a_pooler_that_shares_sessions_is_refused_in_words_and_nothing_is_left_in_them(
    outspool: OpenOutspool, own_postgres: PostgresServer, tmp_path: Path, mode: str, pool: int
) -> None:
    with pgbouncer(tmp_path, own_postgres.url(), mode=mode, pool=pool) as url:
        with pytest.raises(StoreMisconfigured, match="transaction mode") as refused:
            async with outspool(DATABASE_URL=url):
                pass
        assert "pool_mode = session" in str(refused.value)
        if mode == "statement":
            return  # which lets nobody ask for more than one statement's time
        other = await asyncpg.connect(url, statement_cache_size=0)
        try:
            # Another program meets no limit of ours.
            assert await _timeout(other) == "0"
        finally:
            other.terminate()


async def _timeout(connection: asyncpg.Connection) -> str:
    async with connection.transaction():
        statement = await connection.prepare("SHOW statement_timeout", name="")
        return str(await statement.fetchval())


async def test_a_busy_pooler_in_transaction_mode_is_recognised_too(
    outspool: OpenOutspool, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    with pgbouncer(tmp_path, own_postgres.url(), mode="transaction") as url:
        others = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(8)]
        done = asyncio.Event()

        async def work(connection: asyncpg.Connection) -> None:
            while not done.is_set():
                await _timeout(connection)

        working = [asyncio.create_task(work(other)) for other in others]
        try:
            with pytest.raises(StoreMisconfigured, match="transaction mode"):
                async with outspool(DATABASE_URL=url, worker=False):
                    pass
        finally:
            done.set()
            await asyncio.gather(*working)
            for other in others:
                other.terminate()


async def test_a_pooler_in_session_mode_works(
    outspool: OpenOutspool, own_postgres: PostgresServer, sink: SmtpSink, tmp_path: Path
) -> None:
    with pgbouncer(tmp_path, own_postgres.url(), mode="session", pool=60) as url:
        async with outspool(DATABASE_URL=url) as app:
            emails = await asyncio.gather(*(app.outbox.accept(ANN) for _ in range(30)))
            for email in emails:
                assert (await app.outbox.wait_for_outcome(email, max_wait=20)).status is EmailStatus.SENT
            findings = {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}
            assert findings["database"].level is Level.OK
    assert len(sink.messages()) == 30


async def test_the_doctor_names_the_pooler(
    outspool: OpenOutspool, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    with pgbouncer(tmp_path, own_postgres.url(), mode="transaction") as url:
        async with outspool(worker=False, DATABASE_URL=own_postgres.url()) as app:
            app.settings = app.settings.model_copy(update={"database_url": url})
            findings = {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}
    assert findings["database"].level is Level.FAIL
    assert "transaction mode" in findings["database"].finding
    assert "pool_mode = session" in findings["database"].fix
