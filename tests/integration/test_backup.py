"""The SQLite file is removed, replaced or damaged while outspool runs; and backups are restored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.smtp_sink import SmtpSink

from outspool.app.examination import build_doctor
from outspool.app.recovery import back_up, restore
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.errors import InvalidArgument, MisconfiguredError, StoreMisconfigured
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.timings import Timings
from outspool.services.doctor.findings import Finding, Level

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
QUICK = Timings(beat_seconds=0.1, poll_seconds=0.1)


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """All here is about files."""
    return sqlite_url


@pytest.fixture
def file(sqlite_url: str) -> Path:
    """Return the database's file."""
    return Path(sqlite_url.removeprefix("sqlite:///"))


async def accept(app: Outspool, to: str = "ann@example.com", **when: Any) -> Email:
    return await app.outbox.accept(EmailRequest(to=[to], body="x"), when=When(**when) if when else None)


async def settled(app: Outspool, email: Email) -> Email:
    return await app.outbox.wait_for_outcome(await app.outbox.get(str(email.id)), max_wait=10)


async def examined(app: Outspool) -> dict[str, Finding]:
    return {finding.name: finding async for finding in build_doctor(app, offline=True).examine()}


def remove(file: Path) -> None:
    for path in (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        path.unlink(missing_ok=True)


def move_the_folder_away(file: Path) -> None:
    file.parent.rename(file.parent.with_name("elsewhere"))


def put_another_there(file: Path) -> None:
    other = file.with_name("other.db")
    shutil.copy(file, other)
    other.replace(file)


def put_an_empty_one_there(file: Path) -> None:
    remove(file)
    file.touch()


def put_a_link_there(file: Path) -> None:
    other = file.with_name("other.db")
    shutil.copy(file, other)
    file.unlink()
    file.symlink_to(other)


@pytest.mark.parametrize(
    "strike", [remove, move_the_folder_away, put_another_there, put_an_empty_one_there, put_a_link_there]
)
async def test_nothing_is_accepted_sent_or_shown_once_the_file_is_not_the_one_that_was_opened(
    outspool: OpenOutspool, sink: SmtpSink, tmp_path: Path, strike: Callable[[Path], None]
) -> None:
    (tmp_path / "box").mkdir()
    file = tmp_path / "box" / "outspool.db"
    async with outspool(timings=QUICK, DATABASE_URL=f"sqlite:///{file}") as app:
        assert (await settled(app, await accept(app))).status is S.SENT
        strike(file)
        for ask in (lambda: accept(app, "bob@example.com"), app.outbox.find):
            with pytest.raises(StoreMisconfigured, match=r"was (removed|replaced) while outspool ran") as refused:
                await ask()
            assert "Nothing was changed" in str(refused.value)
            assert "Restart" in str(refused.value)
            assert str(refused.value).startswith("misconfigured: ")
    assert [mail.recipients for mail in sink.messages()] == [("ann@example.com",)]


async def test_an_older_copy_that_is_written_over_the_live_file_is_noticed_before_anything_is_lost(
    outspool: OpenOutspool, file: Path
) -> None:
    async with outspool(worker=False) as app:
        await accept(app)
    old = await asyncio.to_thread(file.read_bytes)
    async with outspool(worker=False) as app, outspool(worker=False) as other:
        for n in range(60):
            await accept(app, f"r{n}@example.com")
            await accept(other, f"o{n}@example.com")  # whose checkpoints are no such thing
        with contextlib.closing(sqlite3.connect(file)) as stranger:
            stranger.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # until then the log has all that is newer
        await accept(app)
        await asyncio.to_thread(file.write_bytes, old)
        for process in (app, other):
            with pytest.raises(StoreMisconfigured, match="was overwritten while outspool ran"):
                await accept(process, "bob@example.com")


def lose_bits(file: Path) -> None:
    with file.open("r+b") as raw:
        for page in range(12, file.stat().st_size // 4096, 3):
            raw.seek(page * 4096)
            raw.write(os.urandom(2048))


async def test_the_doctor_finds_a_page_that_lost_its_bits(outspool: OpenOutspool, file: Path) -> None:
    async with outspool(worker=False) as app:
        for n in range(300):
            await accept(app, f"r{n}@example.com")
    await asyncio.to_thread(lose_bits, file)
    async with outspool(worker=False) as app:
        found = await examined(app)
    assert any(finding.level is Level.FAIL and "damaged" in finding.finding for finding in found.values()), found


async def test_a_backup_is_whole_while_others_write_and_for_its_owner_alone(
    outspool: OpenOutspool, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    async with outspool(timings=QUICK) as app:
        emails = [await accept(app, f"r{n}@example.com") for n in range(20)]
        writing = asyncio.create_task(accept(app, "later@example.com"))
        await back_up(app.settings, target)
        await writing
        with pytest.raises(InvalidArgument, match="exists already"):
            await back_up(app.settings, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        held = {row[0] for row in copy.execute("SELECT id FROM emails")}
    assert {email.id.hex for email in emails} <= held
    assert not target.with_name("copy.db-wal").exists()


@pytest.mark.parametrize("by", ["outspool", "sqlite3"])
async def test_what_came_due_since_the_backup_is_in_doubt_and_the_rest_goes_on(
    outspool: OpenOutspool, sink: SmtpSink, file: Path, tmp_path: Path, by: str
) -> None:
    target = tmp_path / "copy.db"
    async with outspool(worker=False) as app:
        waiting, later = await accept(app), await accept(app, "later@example.com", delay="PT5H")
        series = await accept(app, "s@example.com", recurrence="* * * * *", timezone="UTC")
        if by == "outspool":
            await back_up(app.settings, target)
        else:
            with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(target)) as to:
                source.backup(to)
        settings = app.settings
    with contextlib.closing(sqlite3.connect(target)) as copy:
        copy.execute("UPDATE emails SET due_at = '2026-01-01 00:00:00.000000' WHERE status = 'recurring'")
        copy.commit()
    async with outspool(timings=QUICK) as app:
        assert (await settled(app, waiting)).status is S.SENT
        newer = await accept(app, "newer@example.com")
        assert (await settled(app, newer)).status is S.SENT
    done = await restore(settings, target)
    assert done.doubtful == 2
    assert done.old is not None
    with contextlib.closing(sqlite3.connect(done.old)) as kept:
        assert kept.execute("SELECT count(*) FROM emails WHERE id = ?", [newer.id.hex]).fetchone() == (1,)
    async with outspool(timings=QUICK) as app:
        doubtful = await app.outbox.get(str(waiting.id))
        assert doubtful.status is S.UNKNOWN
        assert doubtful.problem is not None
        assert doubtful.problem.code == "restored"
        assert [r.status for r in doubtful.recipients] == [RecipientStatus.UNKNOWN]
        assert doubtful.events[-1].code == "restored"
        assert (await app.outbox.get(str(later.id))).status is S.SCHEDULED
        assert (await app.outbox.find(query=None)).counts[S.UNKNOWN] == 2
        [made] = (await app.outbox.find(series=str(series.id))).emails
        assert made.problem is not None
        assert (made.status, made.problem.code) == (S.UNKNOWN, "restored")
        assert (await app.outbox.get(str(series.id))).due_at > app.clock.now() - timedelta(minutes=2)
        assert (await settled(app, await app.outbox.retry(str(waiting.id)))).status is S.SENT
    sent = [mail.recipients[0] for mail in sink.messages()]
    assert sent.count("ann@example.com") == 2, "once, and once more because a person said so"


async def test_a_restore_refuses_what_is_no_backup_and_while_an_outspool_runs(
    outspool: OpenOutspool, file: Path, tmp_path: Path
) -> None:
    good, text, empty = tmp_path / "good.db", tmp_path / "text.db", tmp_path / "empty.db"
    text.write_text("hello " * 1000)
    with contextlib.closing(sqlite3.connect(empty)) as other:
        other.execute("CREATE TABLE emails (id)")
    async with outspool(timings=QUICK) as app:
        email = await accept(app)
        assert (await settled(app, email)).status is S.SENT
        await back_up(app.settings, good)
        with pytest.raises(MisconfiguredError, match="runs on the outbox"):
            await restore(app.settings, good)
    before = await asyncio.to_thread(file.read_bytes)
    for wrong in (text, empty, tmp_path / "missing.db"):
        with pytest.raises(InvalidArgument, match=r"Nothing was restored|is no backup|There is no file"):
            await restore(app.settings, wrong)
    assert await asyncio.to_thread(file.read_bytes) == before
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("*.restoring*")))


async def test_a_restore_refuses_while_any_process_has_the_outbox_open(outspool: OpenOutspool, tmp_path: Path) -> None:
    async with outspool(worker=False) as app:
        await accept(app)
        await back_up(app.settings, tmp_path / "copy.db")
        with pytest.raises(MisconfiguredError, match="is using the outbox"):
            await restore(app.settings, tmp_path / "copy.db")
        await accept(app, "bob@example.com")


async def test_postgres_has_tools_of_its_own(outspool: OpenOutspool, postgres_url: str, tmp_path: Path) -> None:
    async with outspool(worker=False, DATABASE_URL=postgres_url) as app:
        with pytest.raises(MisconfiguredError, match="pg_dump"):
            await back_up(app.settings, tmp_path / "copy.db")
        with pytest.raises(MisconfiguredError, match="pg_dump"):
            await restore(app.settings, tmp_path / "copy.db")


def outspool_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outspool", *words],
        env={"PATH": os.environ["PATH"], "OUTSPOOL_DATA_DIR": str(folder), "OUTSPOOL_SANDBOX": "true"},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    none = outspool_command(tmp_path, "backup", "copy.db")
    assert none.returncode == 1
    assert "There is no outbox" in none.stderr
    assert outspool_command(tmp_path, "migrate").returncode == 0
    copied = outspool_command(tmp_path, "backup", "copy.db")
    assert (copied.returncode, copied.stderr) == (0, "")
    assert "was copied to copy.db" in copied.stdout
    restored = outspool_command(tmp_path, "restore", "copy.db")
    assert (restored.returncode, restored.stderr) == (0, "")
    assert "was restored" in restored.stdout
    assert "is kept as" in restored.stdout
