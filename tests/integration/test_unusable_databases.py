"""Permanent database problems are reported to callers and by `doctor`, each with its fix."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
import sqlalchemy as sa
from support.outbox_samples import EVERYTHING, NOW, an_email, as_sent, outlet
from support.postgres import PostgresServer

from outspool.adapters.sql.sqlite import SqliteBackend
from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.domain.email import Reply
from outspool.domain.status import EmailStatus
from outspool.errors import StoreMisconfigured, StoreUnavailable
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.findings import Finding, Level

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
ANN = EmailRequest(to=["ann@example.com"], body="x")


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def database_finding(app: Outspool) -> Finding:
    found = {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}
    return found["database"]


async def refused(app: Outspool) -> str:
    """Return what a caller reads, who must not be told to try again in a moment."""
    with pytest.raises(StoreMisconfigured) as error:
        await app.outbox.accept(ANN)
    said = str(error.value)
    assert said.startswith("misconfigured: ")
    assert "in a moment" not in said
    assert "operator" in said
    return said


async def check(app: Outspool, words: str, fix: str) -> None:
    """Hold what the caller and the doctor say to these words."""
    said = await refused(app)
    finding = await database_finding(app)
    assert finding.level is Level.FAIL, finding
    for text in (said, f"{finding.finding} {finding.fix}"):
        assert words in text
        assert fix in text


async def test_a_read_only_database_is_named(outspool: OpenOutspool, postgres_url: str) -> None:
    async with outspool(worker=False, DATABASE_URL=postgres_url) as app:
        await app.migrate()
    name = urlsplit(postgres_url).path.lstrip("/")
    await execute(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with outspool(worker=False, DATABASE_URL=postgres_url) as app:
        await check(app, "read-only", "target_session_attrs")


RIGHTS = {
    "reads alone": ["GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"],
    "not the events": [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "REVOKE INSERT ON events FROM {role}",
    ],
    "no update of emails": [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        "REVOKE UPDATE ON emails FROM {role}",
    ],
}


@pytest.mark.parametrize("rights", RIGHTS)
async def test_a_role_that_may_not_write_is_named(outspool: OpenOutspool, postgres_url: str, rights: str) -> None:
    async with outspool(worker=False, DATABASE_URL=postgres_url) as app:
        await app.migrate()
    role, word = f"role_{secrets.token_hex(4)}", secrets.token_hex(8)
    granted = [statement.format(role=role) for statement in RIGHTS[rights]]
    await execute(postgres_url, f"CREATE ROLE {role} LOGIN PASSWORD '{word}'", *granted)
    try:
        parts = urlsplit(postgres_url)
        url = parts._replace(netloc=f"{role}:{word}@{parts.hostname}:{parts.port}").geturl()
        async with outspool(worker=False, DATABASE_URL=url) as app:
            finding = await database_finding(app)
            assert finding.level is Level.FAIL
            assert "may not do" in finding.finding
            assert "grants it" in finding.fix
            if rights != "no update of emails":
                assert "may not do" in await refused(app)
    finally:
        await execute(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_tables_that_somebody_dropped_are_named(outspool: OpenOutspool, database_url: str) -> None:
    async with outspool(worker=False) as app:
        await app.migrate()
        await app.database.write(lambda connection: connection.execute(sa.text("DROP TABLE tags")))
        await app.database.write(lambda connection: connection.execute(sa.text("DROP TABLE readings")))
        await check(app, "Tables of outspool are missing", "restores a backup")
    del database_url


@pytest.mark.parametrize(("part", "words"), [("password", "refuses the login"), ("path", "does not exist")])
async def test_a_wrong_login_and_a_database_that_is_not_there_are_told_apart(
    outspool: OpenOutspool, postgres_url: str, part: str, words: str
) -> None:
    parts = urlsplit(postgres_url)
    if part == "password":
        wrong = parts._replace(netloc=f"postgres:wrong@{parts.hostname}:{parts.port}").geturl()
    else:
        wrong = parts._replace(path="/nowhere").geturl()
    async with outspool(worker=False, DATABASE_URL=wrong) as app:
        await check(app, words, "operator")


async def test_a_full_disk_is_certain_to_have_done_nothing_and_says_who_can_help(
    outspool: OpenOutspool, sqlite_url: str
) -> None:
    async with outspool(worker=False, DATABASE_URL=sqlite_url) as app:
        await app.outbox.accept(ANN)
        assert isinstance(app.database.backend, SqliteBackend)

        def fill(connection: sa.Connection) -> None:
            used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={used}")

        sa.event.listen(app.database.backend.engine, "begin", fill)
        with pytest.raises(StoreMisconfigured, match=r"disk .* is full") as error:
            await app.outbox.accept(replace(ANN, body="x" * 400_000))
        assert not error.value.in_doubt
        assert "Nothing was changed" in str(error.value)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 3 MB; skip where nobody may."""
    place = folder / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_a_disk_that_is_really_full_says_at_each_call_that_nothing_was_done(
    outspool: OpenOutspool, tmp_path: Path
) -> None:
    with small_disk(tmp_path) as place:
        async with outspool(worker=False, DATABASE_URL=f"sqlite:///{place / 'outspool.db'}") as app:
            accepted, refusals = 0, []
            for _ in range(400):
                try:
                    await app.outbox.accept(replace(ANN, body="x" * 20_000))
                    accepted += 1
                except StoreUnavailable as error:
                    refusals.append(error)
            assert refusals, accepted
            assert {error.in_doubt for error in refusals} == {False}
            assert {error.code for error in refusals} == {"misconfigured"}
            assert (await app.outbox.find()).counts == {EmailStatus.QUEUED: accepted}
            finding = await database_finding(app)
            assert finding.level is Level.FAIL
            assert "full" in finding.finding


async def test_the_doctor_leaves_no_trace_of_what_it_wrote(outspool: OpenOutspool) -> None:
    async with outspool(worker=False) as app:
        await app.outbox.accept(ANN)
        before = await rows(app)
        assert (await database_finding(app)).level is Level.OK
        assert await rows(app) == before


async def rows(app: Outspool) -> list[int]:
    names = ("emails", "recipients", "tags", "events", "workers", "meters", "readings", "blobs", "accounts")
    return await app.database.read(
        lambda connection: [
            int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one())  # noqa: S608
            for name in names
        ]
    )


@pytest.fixture
async def latin_url(own_postgres: PostgresServer) -> str:
    """Return the URL of a database in Latin-1."""
    options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    await execute(own_postgres.url(), f"CREATE DATABASE latin {options}")
    return own_postgres.url("latin")


async def test_a_database_that_lacks_characters_is_refused_at_the_start_with_the_fix(
    outspool: OpenOutspool, latin_url: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreMisconfigured, match="LATIN1") as error:
        async with outspool(DATABASE_URL=latin_url):
            pass
    assert "ENCODING 'UTF8'" in str(error.value)
    commands = {"worker": 1, "doctor": 1}
    for command, code in commands.items():
        done = await asyncio.to_thread(run, command, latin_url, tmp_path)
        assert done.returncode == code
        assert "LATIN1" in done.stdout + done.stderr
        assert "UTF8" in done.stdout + done.stderr


def run(command: str, url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outspool", command, *(["--offline"] if command == "doctor" else [])],
        env={
            "PATH": os.environ["PATH"],
            "OUTSPOOL_DATA_DIR": str(folder),
            "DATABASE_URL": url,
            "OUTSPOOL_SANDBOX": "1",
        },
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", ["a\x00b", "half \ud800 a pair", "漢字 🎉 \ufffe", "x" * 100_000])
async def test_whatever_a_server_replied_the_outcome_is_recorded(database_url: str, words: str) -> None:
    async with outlet(database_url) as box:
        email = await box.accept(an_email())
        [claimed] = await box.claim()
        change = as_sent(claimed)
        assert change.recipients is not None
        said = tuple(replace(r, reply=Reply(code=250, enhanced_code=None, text=words)) for r in change.recipients)
        assert await box.store.record(
            email.id, replace(change, recipients=said, detail=words), EVERYTHING, lease=claimed.lease
        )
        found = await box.store.get(email.id, EVERYTHING)
    assert found is not None
    assert found.status is EmailStatus.SENT
    assert found.events[-1].at == NOW
