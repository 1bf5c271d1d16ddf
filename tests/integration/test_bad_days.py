"""The database is lost, late or full: nothing is lost, nothing is invented, and no process ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.postgres import PostgresServer
from support.smtp_sink import SmtpSink
from support.tcp_proxy import TcpProxy
from support.variables import variables

from outspool.adapters.sql.postgres import PostgresBackend
from outspool.adapters.sql.sqlite import SqliteBackend
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus
from outspool.errors import StoreUnavailable
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus


@asynccontextmanager
async def running(sink: SmtpSink, url: str, folder: Path, *, worker: bool = True) -> AsyncIterator[Outspool]:
    app = Outspool(Settings.load(variables(folder, sink, url)))
    async with app.run(worker=worker):
        yield app


async def accept(app: Outspool, to: str = "ann@example.com", body: str = "Hi.", **when: Any) -> Email:
    return await app.outbox.accept(EmailRequest(to=[to], body=body), when=When(**when) if when else None)


async def until(app: Outspool, email: Email, status: EmailStatus, *, max_wait: float = 30) -> Email:
    async with asyncio.timeout(max_wait):
        while True:
            try:
                if (now := await app.outbox.get(str(email.id))).status is status:
                    return now
            except StoreUnavailable:
                pass
            await asyncio.sleep(0.05)


async def eventually(app: Outspool, *, max_wait: float = 30) -> Email:
    """Accept an email as soon as the database lets us."""
    async with asyncio.timeout(max_wait):
        while True:
            try:
                return await accept(app)
            except StoreUnavailable:
                await asyncio.sleep(0.1)


async def test_a_database_that_comes_late_is_waited_for(
    own_postgres: PostgresServer, sink: SmtpSink, tmp_path: Path
) -> None:
    url = own_postgres.url()
    own_postgres.stop()
    async with running(sink, url, tmp_path) as app:
        with pytest.raises(StoreUnavailable, match="cannot be used"):
            await accept(app)
        own_postgres.start()
        email = await eventually(app)
        await until(app, email, S.SENT)
    assert [mail.message_id for mail in sink.messages()] == [email.message_id]


async def test_a_database_that_restarts_loses_and_repeats_nothing(
    own_postgres: PostgresServer, sink: SmtpSink, tmp_path: Path
) -> None:
    async with running(sink, own_postgres.url(), tmp_path) as app:
        slow = await accept(app, "slow-bob@example.com")
        later = await accept(app, "eve@example.com", delay="PT3S")
        await until(app, slow, S.SENDING)
        await asyncio.sleep(0.5)  # the slow one is past its mark
        own_postgres.restart()
        assert (await until(app, slow, S.SENT)).attempts == 1
        await until(app, later, S.SENT)
        fresh = await eventually(app)
        await until(app, fresh, S.SENT)
    assert Counter(mail.message_id for mail in sink.messages()) == {
        email.message_id: 1 for email in (slow, later, fresh)
    }


@pytest.mark.long
async def test_a_database_that_falls_silent_is_an_error_in_time_and_not_a_hang(
    own_postgres: PostgresServer, sink: SmtpSink, tmp_path: Path
) -> None:
    host_port = sa.make_url(own_postgres.url())
    async with TcpProxy(host_port.port or 5432) as line:
        url = host_port.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
        async with running(sink, url, tmp_path) as app:
            await until(app, await accept(app), S.SENT)
            line.is_black_hole = True
            with pytest.raises(StoreUnavailable, match=r"does not answer in time|cannot be used"):
                async with asyncio.timeout(25):
                    await accept(app)
            line.is_black_hole = False
            line.reset_all()
            email = await eventually(app)
            await until(app, email, S.SENT)
    assert len(sink.messages()) == 2


@pytest.mark.long
async def test_after_a_silence_no_connection_is_used_again(own_postgres: PostgresServer) -> None:
    address = sa.make_url(own_postgres.url())

    def backend(connection: sa.Connection) -> int:
        connection.execute(sa.text("SELECT pg_sleep(0.2)"))  # so that all three are taken at once
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

    async with TcpProxy(address.port or 5432) as proxy:
        url = address.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        line = PostgresBackend(url, statement_seconds=1)
        before = await asyncio.gather(*(line.read(backend) for _ in range(3)))
        assert set(await asyncio.gather(*(line.read(backend) for _ in range(3)))) == set(before)
        proxy.is_black_hole = True
        with pytest.raises(TimeoutError):
            await line.read(backend)
        proxy.is_black_hole = False
        after = await asyncio.gather(*(line.read(backend) for _ in range(3)))
        assert len({*before, *after}) == 6
        await line.close()


async def test_an_email_whose_commit_got_no_answer_is_said_to_be_in_doubt(
    own_postgres: PostgresServer, sink: SmtpSink, tmp_path: Path
) -> None:
    address = sa.make_url(own_postgres.url())
    async with TcpProxy(address.port or 5432) as line:
        url = address.set(host="127.0.0.1", port=line.port).render_as_string(hide_password=False)
        async with running(sink, url, tmp_path, worker=False) as app:
            await app.outbox.find()
            line.die_after(b"COMMIT;")
            with pytest.raises(StoreUnavailable, match="may have been done, or not"):
                await accept(app)
            await line.listen()
            assert (await app.outbox.find()).counts == {S.QUEUED: 1}  # it was, this time


async def test_a_full_disk_is_said_in_words_and_nothing_is_half_stored(
    sqlite_url: str, sink: SmtpSink, tmp_path: Path
) -> None:
    async with running(sink, sqlite_url, tmp_path) as app:
        first = await accept(app)
        await until(app, first, S.SENT)
        limit = _limit_pages(app, more=20)
        with pytest.raises(StoreUnavailable, match=r"disk .* is full"):
            await accept(app, body="x" * 400_000)
        counts = (await app.outbox.find()).counts
        assert counts == {S.SENT: 1}
        limit()
        await until(app, await accept(app, body="x" * 400_000), S.SENT)
    assert len(sink.messages()) == 2


def _limit_pages(app: Outspool, *, more: int) -> Any:
    """Let SQLite's own limit stand for a disk with no room but for so many pages; return what lifts it."""
    assert isinstance(app.database.backend, SqliteBackend)
    engine = app.database.backend.engine
    limits = {"pages": more}

    def limit(connection: sa.Connection) -> None:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={used + limits['pages']}")

    sa.event.listen(engine, "begin", limit)

    def lift() -> None:
        limits["pages"] = 1_000_000

    return lift


async def test_an_sqlite_file_that_cannot_be_made_is_said_in_words(sink: SmtpSink, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with running(sink, f"sqlite:///{tmp_path}/file/outspool.db", tmp_path) as app:
        with pytest.raises(StoreUnavailable) as refused:
            await accept(app)
    assert "cannot be used" in str(refused.value)
    assert "outspool doctor" in str(refused.value)
