"""Links below an allowed folder reveal nothing outside of it, and send nothing of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from outspool.adapters.files.operator_files import OperatorFiles
from outspool.adapters.files.rooted_files import RootedFiles
from outspool.app import storage
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.errors import AttachmentRefused
from outspool.services.acceptance.attachment_requests import AttachmentRequest
from outspool.services.acceptance.validation import EmailRequest

PUBLIC = b"a report for everybody"
SECRET = b"the secret of somebody else"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    (folder / "there.txt").write_bytes(SECRET)
    (folder / "sub" / "there.txt").write_bytes(SECRET)
    (folder / ".hidden").write_bytes(SECRET)
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Path:
    folder = tmp_path / "allowed"
    (folder / "sub").mkdir(parents=True)
    (folder / "report.txt").write_bytes(PUBLIC)
    (folder / "sub" / "inner.txt").write_bytes(PUBLIC)
    (folder / "out").symlink_to(outside)
    (folder / "near").symlink_to("../outside")
    (folder / "sub" / "deep").symlink_to("../near/sub")
    (folder / "twice").symlink_to(folder / "out")
    (outside / "back").symlink_to(folder / "report.txt")
    return folder


async def read(files: RootedFiles | OperatorFiles, path: object) -> bytes:
    async with asyncio.timeout(10), files.open(str(path)) as file:
        return b"".join([chunk async for chunk in file.chunks()])


async def refused(files: RootedFiles | OperatorFiles, path: object) -> str:
    with pytest.raises(AttachmentRefused) as error:
        await read(files, path)
    return str(error.value)


INSIDE = ["there.txt", "missing.txt", "sub", "sub/there.txt", "sub/missing.txt", "there.txt/x", ".hidden", ".missing"]
INSIDE += ["loop", "loop/x", "pipe", "back", "back/x", "x" * 300, "missing/missing", "there.txt/", "sub/"]


@pytest.mark.parametrize("link", ["out", "near", "sub/deep", "twice", "out/sub", "near/missing"])
@pytest.mark.parametrize("is_absolute", [True, False])
async def test_a_link_that_leads_out_says_the_same_whatever_is_there(root: Path, link: str, is_absolute: bool) -> None:
    files = RootedFiles([root])
    sentences = set()
    for name in INSIDE:
        path = f"{root}/{link}/{name}" if is_absolute else f"{link}/{name}"
        said = await refused(files, path)
        assert "is not in a folder that files may be sent from" in said
        sentences.add(said.partition("is not in")[2])
    assert len(sentences) == 1


@pytest.mark.parametrize("name", ["there.txt", "missing.txt", "sub", ".hidden", "loop", "pipe"])
async def test_a_link_to_one_file_outside_says_the_same_whatever_is_there(root: Path, outside: Path, name: str) -> None:
    (root / "link").symlink_to(outside / name)
    (root / "relative").symlink_to(f"../outside/{name}")
    for path in ("link", "relative", f"{root}/link", "link/x"):
        assert "is not in a folder that files may be sent from" in await refused(RootedFiles([root]), path)


async def test_nothing_outside_is_even_looked_at(root: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    for name in ("stat", "lstat", "readlink", "open", "scandir", "access"):
        monkeypatch.setattr(os, name, noted(getattr(os, name), looked))
    files = RootedFiles([root])
    looked.clear()
    for name in INSIDE:
        for link in ("out", "near", "sub/deep", "twice"):
            with pytest.raises(AttachmentRefused):
                files._open_descriptor(f"{root}/{link}/{name}")
    assert looked
    assert [path for path in looked if path.startswith(str(outside)) or "/out/" in path or "/near/" in path] == []


def noted(look: Any, looked: list[str]) -> Any:
    def note(path: Any, *arguments: Any, **more: Any) -> Any:
        looked.append(str(path))
        return look(path, *arguments, **more)

    return note


async def test_of_several_folders_the_next_is_not_asked_when_a_link_of_the_first_leads_out(
    root: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "out").mkdir(parents=True)
    (other / "out" / "there.txt").write_bytes(PUBLIC)
    files = RootedFiles([root, other])
    assert "is not in a folder" in await refused(files, "out/there.txt")
    assert "is not in a folder" in await refused(files, "out/missing.txt")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a", "report.txt"),
        ("b", "sub/inner.txt"),
        ("sub/c", "../report.txt"),
        ("d", "./sub/../report.txt"),
        ("e", "{root}/report.txt"),
        ("f", "../allowed/report.txt"),
        ("g", "../other/report.txt"),
        ("h", "{other}/report.txt"),
        ("i", "{door}/report.txt"),
        ("j", "sub/../../allowed/./sub//inner.txt"),
    ],
)
async def test_a_link_from_one_allowed_folder_to_the_same_or_another_is_followed(
    root: Path, tmp_path: Path, link: str, target: str
) -> None:
    other, door = tmp_path / "other", tmp_path / "door"
    other.mkdir()
    (other / "report.txt").write_bytes(PUBLIC)
    door.symlink_to(root)
    (root / link).symlink_to(target.format(root=root, other=other, door=door))
    assert await read(RootedFiles([door, other]), root / link) == PUBLIC


async def test_forty_links_are_followed_and_a_circle_is_not(root: Path) -> None:
    previous = "report.txt"
    for number in range(39):
        (root / f"link{number}").symlink_to(previous)
        previous = f"link{number}"
    assert await read(RootedFiles([root]), previous) == PUBLIC
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    (root / "more").symlink_to("more/more")
    for name in ("one", "more", "one/x"):
        assert "not there" in await refused(RootedFiles([root]), name)


async def test_a_file_with_a_second_name_elsewhere_is_refused(root: Path, outside: Path) -> None:
    os.link(outside / "there.txt", root / "innocent.txt")
    assert "has several names (hard links)" in await refused(RootedFiles([root]), "innocent.txt")
    (outside / "there.txt").unlink()
    assert await read(RootedFiles([root]), "innocent.txt") == SECRET  # it has no other name now: it is the folder's


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("way", ["in the folder", "hard link", "link"])
async def test_the_database_is_never_sent_wherever_it_is(root: Path, tmp_path: Path, suffix: str, way: str) -> None:
    folder = root if way == "in the folder" else tmp_path / "elsewhere"
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder / 'mail.db'}"
    async with opened(tmp_path, url, root) as app:
        await app.outbox.accept(EmailRequest(to=["x@example.com"], subject="s", body=SECRET.decode()))
        named = f"mail.db{suffix}" if way == "in the folder" else "innocent.txt"
        if way == "hard link":
            os.link(folder / f"mail.db{suffix}", root / named)
        elif way == "link":
            (root / named).symlink_to(folder / f"mail.db{suffix}")
        with pytest.raises(AttachmentRefused, match=r"outspool's own|not in a folder"):
            await app.outbox.accept(
                EmailRequest(to=["x@example.com"], subject="s", body="b", attachments=[AttachmentRequest(path=named)])
            )
        with pytest.raises(AttachmentRefused, match="outspool's own"):
            await read(storage.build_operator_files(app.settings), folder / f"mail.db{suffix}")


@asynccontextmanager
async def opened(tmp_path: Path, url: str, root: Path) -> AsyncIterator[Outspool]:
    settings = Settings.load(
        {
            "OUTSPOOL_DATA_DIR": tmp_path / "data",
            "DATABASE_URL": url,
            "EMAIL_ATTACHMENT_ROOTS": str(root),
            "OUTSPOOL_SANDBOX": True,
        }
    )
    app = Outspool(settings)
    async with app.run(worker=False):
        yield app


async def test_our_own_folder_is_ours_whether_a_file_is_there_or_not(root: Path) -> None:
    private = root / "outspool"
    private.mkdir()
    (private / "outspool.db").write_bytes(SECRET)
    files = RootedFiles([root], private=private)
    there, missing = [await refused(files, f"outspool/{name}") for name in ("outspool.db", "outsbool.db")]
    assert there.replace("outspool.db", "outsbool.db") == missing
    (root / "link").symlink_to("outspool")
    assert "outspool's own" in await refused(files, "link/outspool.db")


async def test_a_person_may_send_a_file_with_several_names(outside: Path, tmp_path: Path) -> None:
    os.link(outside / "there.txt", tmp_path / "copy.txt")
    assert await read(OperatorFiles(), tmp_path / "copy.txt") == SECRET
