"""DATABASE_URL with several hosts: the writable one is found, also after a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from urllib.parse import urlsplit

import pytest
from support.postgres import PostgresServer, PostgresStandby
from support.smtp_sink import SmtpSink

from outspool.adapters.sql.backend import check_address, parse_hosts
from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus
from outspool.errors import MisconfiguredError, StoreMisconfigured, StoreUnavailable
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.findings import Level

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
ANN = EmailRequest(to=["ann@example.com"], body="x")


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Each test names its own."""
    return sqlite_url


@pytest.fixture
def standby(own_postgres: PostgresServer) -> Iterator[PostgresStandby]:
    """Return a running standby of `own_postgres`."""
    with PostgresStandby(own_postgres) as server:
        yield server


def both(first: PostgresServer, second: PostgresServer, *, attributes: str = "?target_session_attrs=read-write") -> str:
    """Return one address for two servers."""
    one, two = urlsplit(first.url()), urlsplit(second.url())
    return one._replace(netloc=f"{one.netloc},127.0.0.1:{two.port}").geturl() + attributes


@pytest.mark.parametrize(
    ("place", "hosts"),
    [
        ("a", [("a", 5432)]),
        ("u:p@a:1,b", [("a", 1), ("b", 5432)]),
        ("u:p@[::1]:5433,b:2", [("::1", 5433), ("b", 2)]),
        ("u:p@", [("localhost", 5432)]),
    ],
)
def test_hosts_are_read_as_libpq_reads_them(place: str, hosts: list[tuple[str, int]]) -> None:
    assert parse_hosts(f"postgresql://{place}/name") == hosts
    check_address(f"postgresql://{place}/name")


@pytest.mark.parametrize("place", ["u:p#@a", "a:x", "a:0", "a:70000", "a:1,b:y", "u:p/w@a:5432"])
def test_what_is_no_host_is_refused(place: str) -> None:
    with pytest.raises(MisconfiguredError, match="not a valid address"):
        check_address(f"postgresql://{place}/name")


@pytest.mark.long
async def test_the_primary_is_found_and_found_again_when_it_is_another(
    outspool: OpenOutspool, sink: SmtpSink, own_postgres: PostgresServer, standby: PostgresStandby
) -> None:
    async with outspool(DATABASE_URL=both(standby, own_postgres)) as app:
        before = await app.outbox.accept(ANN)
        assert (await app.outbox.wait_for_outcome(before, max_wait=20)).status is EmailStatus.SENT
        findings = {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}
        assert findings["database"].level is Level.OK
        assert findings["standby"].level is Level.WARN
        assert "asynchronous" in findings["standby"].finding
        assert "docs/failover.md" in findings["standby"].fix
        own_postgres.stop()
        await asyncio.to_thread(standby.promote)
        after = await eventually(app)
        assert (await app.outbox.wait_for_outcome(after, max_wait=20)).status is EmailStatus.SENT
    assert {mail.message_id for mail in sink.messages()} == {before.message_id, after.message_id}


async def eventually(app: Outspool) -> Email:
    """Accept an email as soon as the database lets us."""
    async with asyncio.timeout(30):
        while True:
            with suppress(StoreUnavailable):
                return await app.outbox.accept(ANN)
            await asyncio.sleep(0.1)


async def test_a_standby_alone_is_read_only_and_the_cure_is_named(
    outspool: OpenOutspool, own_postgres: PostgresServer, standby: PostgresStandby
) -> None:
    async with outspool(worker=False, DATABASE_URL=own_postgres.url()) as app:
        await app.outbox.accept(ANN)
    url = standby.url() + "?target_session_attrs=any"
    async with outspool(worker=False, DATABASE_URL=url) as app:
        async with asyncio.timeout(20):
            while True:
                with suppress(StoreUnavailable):
                    if (await app.outbox.find()).emails:
                        break
                await asyncio.sleep(0.1)
        with pytest.raises(StoreMisconfigured, match="read-only: a standby") as refused:
            await app.outbox.accept(ANN)
        assert "target_session_attrs=read-write" in str(refused.value)
        findings = {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}
        assert findings["database"].level is Level.FAIL
