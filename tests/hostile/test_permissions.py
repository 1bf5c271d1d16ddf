"""Other users of the machine cannot read outspool's files at any time, whatever the umask."""

from __future__ import annotations

import asyncio
import base64
import os
import shlex
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from support.stage import OUTSPOOL, Session

from outspool.adapters.blobs.local import LocalBlobs
from outspool.adapters.files.private_files import create_database_file, create_folder
from outspool.adapters.sandbox import Sandbox
from outspool.adapters.sql.sqlite import SqliteBackend
from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.services.doctor.findings import Finding, Level

UMASKS = [0o000, 0o022, 0o777]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions are lists there")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


class Watch:
    """Looks at every file and folder below one, again and again, and keeps each mode that it has ever had."""

    def __init__(self, folder: Path) -> None:
        self.modes: dict[Path, set[int]] = {}
        self._folder = folder
        self._finish = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._finish.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        for parent, folders, files in os.walk(self._folder):
            for name in (*folders, *files):
                path = Path(parent, name)
                try:
                    self.modes.setdefault(path, set()).add(stat.S_IMODE(path.lstat().st_mode))
                except FileNotFoundError:
                    continue

    def open_to_others(self) -> dict[str, set[str]]:
        """Return what others could read, write or enter at any time."""
        return {
            str(path.relative_to(self._folder)): {oct(mode) for mode in modes}
            for path, modes in self.modes.items()
            if any(mode & 0o077 for mode in modes)
        }

    def _look_again(self) -> None:
        while not self._finish.is_set():
            self.look()


def started_under(mask: int, environment: dict[str, str], folder: Path) -> StdioServerParameters:
    """Return what starts `outspool --sandbox` with a umask of its own, as a careless service manager would."""
    command = f"umask {mask:03o}; exec {shlex.join(OUTSPOOL)} --sandbox"
    return StdioServerParameters(command="/bin/sh", args=["-c", command], env=environment, cwd=folder)


@pytest.mark.parametrize("folder_exists", [True, False])
@pytest.mark.parametrize("mask", UMASKS)
async def test_everything_that_a_server_makes_is_private_from_its_first_instant(
    tmp_path: Path, mask: int, folder_exists: bool
) -> None:
    data = tmp_path / "open" / "data"
    if folder_exists:
        data.mkdir(parents=True)
        data.chmod(0o755)
    else:
        data.parent.mkdir()
    environment = {"PATH": os.environ["PATH"], "OUTSPOOL_DATA_DIR": str(data)}
    content = base64.b64encode(b"for one reader").decode()
    with Watch(tmp_path / "open") as watch, (tmp_path / "log").open("w") as log:
        async with Client(stdio_client(started_under(mask, environment, tmp_path), errlog=log)) as client:
            sent = await Session(client).call(
                "send_email",
                to=["ada@example.com"],
                subject="s",
                body="b",
                attachments=[{"filename": "a.txt", "content": content}],
                wait=20,
            )
    assert sent["status"] == "sent", (tmp_path / "log").read_text()
    names = {path.name for path in watch.modes}
    assert {"outspool.db", "outspool.db-wal", "outspool.db-shm", "attachments", "sandbox"} <= names
    assert any(name.endswith(".eml") for name in names)
    exposed = watch.open_to_others()
    assert exposed == ({"data": {"0o755"}} if folder_exists else {}), exposed


@pytest.mark.parametrize("mask", UMASKS)
async def test_a_connection_that_comes_before_all_else_makes_a_private_database(tmp_path: Path, mask: int) -> None:
    line = SqliteBackend(tmp_path / "outspool.db")
    with umask(mask):
        await line.write(lambda connection: connection.exec_driver_sql("CREATE TABLE t (x)"))
        modes = modes_in(tmp_path)
    await line.close()
    assert modes == dict.fromkeys(("outspool.db", "outspool.db-wal", "outspool.db-shm"), 0o600)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can make files of another user")
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_a_file_that_another_user_put_in_the_way_is_not_written_to(tmp_path: Path, suffix: str) -> None:
    create_database_file(tmp_path / "outspool.db")
    planted = tmp_path / f"outspool.db{suffix}"
    planted.touch()
    os.chown(planted, 12345, 12345)
    with pytest.raises(OSError, match="belongs to another user"):
        create_database_file(tmp_path / "outspool.db")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can make files of another user")
def test_a_link_that_another_user_put_in_the_way_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "outspool.db"
    link.symlink_to(tmp_path / "elsewhere.db")
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(OSError, match="belongs to another user"):
        create_database_file(link)
    assert not (tmp_path / "elsewhere.db").exists()


def test_a_link_of_the_operators_leads_to_a_private_file(tmp_path: Path) -> None:
    (tmp_path / "outspool.db").symlink_to(tmp_path / "disk" / "mail.db")
    with umask(0):
        create_database_file(tmp_path / "outspool.db")
    assert modes_in(tmp_path / "disk") == {"mail.db": 0o600}
    assert stat.S_IMODE((tmp_path / "disk").stat().st_mode) == 0o700


@pytest.mark.parametrize("mask", UMASKS)
def test_every_folder_on_the_way_is_private_too(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        create_folder(tmp_path / "a" / "b" / "c")
        create_database_file(tmp_path / "d" / "e" / "outspool.db")
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 5
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o700}


async def test_files_of_an_earlier_version_are_restricted_at_the_next_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    settings = Settings.load({"OUTSPOOL_DATA_DIR": data, "OUTSPOOL_SANDBOX": True, "DATABASE_URL": ""})
    with umask(0o022):
        (data / "attachments" / "ab" / "cd").mkdir(parents=True)
        (data / "attachments" / "ab" / "cd" / ("abcd" + "0" * 60)).write_bytes(b"x")
        (data / "attachments" / "incoming").mkdir()
        (data / "sandbox").mkdir()
        (data / "sandbox" / "one.eml").write_bytes(b"x")
        for suffix in ("", "-journal"):
            (data / f"outspool.db{suffix}").touch()
    outside = tmp_path / "outside.eml"
    outside.write_bytes(b"not ours")
    outside.chmod(0o644)
    (data / "sandbox" / "link.eml").symlink_to(outside)
    async with Outspool(settings).run(worker=False):
        await Outspool(settings).migrate()
    loose = {
        str(path.relative_to(data))
        for path in data.rglob("*")
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077
    }
    assert loose <= {"sandbox"}
    assert stat.S_IMODE(data.stat().st_mode) == 0o755, "somebody else made it"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


async def test_what_the_sandbox_and_the_blob_store_keep_is_private_without_the_command_line(tmp_path: Path) -> None:
    with umask(0), Watch(tmp_path) as watch:
        for number in range(50):
            Sandbox(tmp_path / "box" / "sandbox")._keep(b"Subject: %d\n\n" % number)
        blobs = LocalBlobs(tmp_path / "files" / "attachments")
        await asyncio.gather(*(blobs.check() for _ in range(20)))
    assert watch.open_to_others() == {}


async def access(settings: Settings) -> Finding:
    findings = [finding async for finding in build_doctor(Outspool(settings), offline=True).examine()]
    [found] = [finding for finding in findings if finding.name == "access"]
    return found


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o755, "every user of this machine can read"),
        (0o705, "every user of this machine can read"),
        (0o777, "every user of this machine can change"),
        (0o1777, "every user of this machine can change"),
        (0o750, "its group can read"),
        (0o770, "its group can change"),
    ],
)
async def test_doctor_warns_of_a_folder_that_others_can_read(tmp_path: Path, mode: int, words: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    found = await access(Settings.load({"OUTSPOOL_DATA_DIR": data, "OUTSPOOL_SANDBOX": True}))
    assert found.level is Level.WARN
    assert f"{data}: {words}" in found.finding
    assert "chmod 700" in found.fix
    assert stat.S_IMODE(data.stat().st_mode) == mode


async def test_doctor_warns_of_the_folder_of_a_database_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere").chmod(0o755)
    url = f"sqlite:///{tmp_path / 'elsewhere' / 'mail.db'}"
    settings = Settings.load({"OUTSPOOL_DATA_DIR": tmp_path / "data", "OUTSPOOL_SANDBOX": True, "DATABASE_URL": url})
    assert "elsewhere: every user" in (await access(settings)).finding


@pytest.mark.parametrize("mode", [0o700, 0o711])
async def test_doctor_is_content_with_a_private_folder(tmp_path: Path, mode: int) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(mode)
    assert (await access(Settings.load({"OUTSPOOL_DATA_DIR": data, "OUTSPOOL_SANDBOX": True}))).level is Level.OK
