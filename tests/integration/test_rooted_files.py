"""Files that callers may attach by path: real files, links, pipes, devices and races."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from outspool.adapters.files import rooted_files
from outspool.adapters.files.rooted_files import RootedFiles
from outspool.domain.setting import Setting
from outspool.errors import AttachmentRefused

SECRET = b"the secret of somebody else"
PUBLIC = b"a report for everybody"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the one folder that files may come from, with a secret beside it."""
    folder = tmp_path / "allowed"
    (folder / "sub").mkdir(parents=True)
    (folder / "report.txt").write_bytes(PUBLIC)
    (folder / "sub" / "inner.txt").write_bytes(PUBLIC)
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed-not" / "secret.txt").write_bytes(SECRET)
    (tmp_path / "secret.txt").write_bytes(SECRET)
    return folder


async def read(files: RootedFiles, path: object) -> bytes:
    async with asyncio.timeout(10), files.open(str(path)) as file:
        return b"".join([chunk async for chunk in file.chunks()])


async def refused(files: RootedFiles, path: object) -> str:
    with pytest.raises(AttachmentRefused) as error:
        await read(files, path)
    assert len(str(error.value)) < 600
    assert SECRET.decode() not in str(error.value)
    return str(error.value)


async def test_a_file_below_the_folder_is_read(root: Path) -> None:
    assert await read(RootedFiles([root]), root / "report.txt") == PUBLIC
    assert await read(RootedFiles([root]), root / "sub" / "inner.txt") == PUBLIC
    assert await read(RootedFiles([root]), f"{root}//sub/./inner.txt") == PUBLIC


async def test_a_relative_path_counts_from_the_folders_in_their_order(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_bytes(b"mine")
    (other / "report.txt").write_bytes(b"another")
    files = RootedFiles([root, other])
    assert await read(files, "report.txt") == PUBLIC
    assert await read(files, "sub/inner.txt") == PUBLIC
    assert await read(files, "mine.txt") == b"mine"


async def test_the_name_is_the_one_the_caller_wrote(root: Path) -> None:
    (root / "latest.pdf").symlink_to(root / "report.txt")
    async with RootedFiles([root]).open(str(root / "latest.pdf")) as file:
        assert (file.name, file.size) == ("latest.pdf", len(PUBLIC))


async def test_a_file_is_read_from_its_beginning_each_time(root: Path) -> None:
    async with RootedFiles([root]).open(str(root / "report.txt")) as file:
        for _ in range(2):
            assert b"".join([chunk async for chunk in file.chunks()]) == PUBLIC


async def test_without_folders_no_path_is_taken(root: Path) -> None:
    assert str(Setting.ATTACHMENT_FOLDERS) in await refused(RootedFiles([]), root / "report.txt")


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/dev/zero", "/", "//etc/passwd"])
async def test_an_absolute_path_elsewhere_is_refused(root: Path, path: str) -> None:
    assert "not in a folder" in await refused(RootedFiles([root]), path)


async def test_of_what_lies_outside_not_even_the_existence_is_told(root: Path, tmp_path: Path) -> None:
    files = RootedFiles([root])
    there, missing = tmp_path / "secret.txt", tmp_path / "sacred.txt"
    assert (await refused(files, there)).replace("secret", "sacred") == await refused(files, missing)


async def test_a_folder_whose_name_begins_like_an_allowed_one_is_another(root: Path, tmp_path: Path) -> None:
    assert "not in a folder" in await refused(RootedFiles([root]), tmp_path / "allowed-not" / "secret.txt")


@pytest.mark.parametrize("path", ["../secret.txt", "sub/../../secret.txt", "..", "sub/..", "..\\secret.txt"])
async def test_a_path_that_goes_up_is_refused(root: Path, path: str) -> None:
    files = RootedFiles([root])
    assert "two dots" in await refused(files, path)
    assert "two dots" in await refused(files, f"{root}/{path}")


@pytest.mark.parametrize("path", ["~/report.txt", "~root/report.txt", "~"])
async def test_a_home_is_nobodys(root: Path, path: str) -> None:
    assert "~" in await refused(RootedFiles([root]), path)


@pytest.mark.parametrize("scheme", ["file:///", "FILE:/", "http://localhost/", "s3://bucket/", "data:/"])
async def test_a_url_is_no_path(root: Path, scheme: str) -> None:
    assert "URL" in await refused(RootedFiles([root]), f"{scheme}{root}/report.txt")


@pytest.mark.parametrize("path", ["", "a\0b", "report.txt\0.pdf", "a\nb", "a\x1bb", "\ud800"])
async def test_a_path_with_control_characters_is_none(root: Path, path: str) -> None:
    assert "is no path" in await refused(RootedFiles([root]), path)


async def test_an_endless_path_is_refused_and_not_repeated(root: Path) -> None:
    assert "characters long" in await refused(RootedFiles([root]), "a/" * 100_000)
    await refused(RootedFiles([root]), "a" * 4000)
    await refused(RootedFiles([root]), f"{root}/{'a' * 3000}")


async def test_a_file_that_is_not_there_is_named(root: Path) -> None:
    assert "There is no file" in await refused(RootedFiles([root]), root / "missing.txt")
    assert "There is no file" in await refused(RootedFiles([root]), "missing.txt")
    assert "not there" in await refused(RootedFiles([root]), root / "report.txt" / "x")


async def test_a_folder_that_is_not_there_yet_is_one_without_files(tmp_path: Path) -> None:
    assert "There is no file" in await refused(RootedFiles([tmp_path / "later"]), "x.txt")


async def test_a_link_that_leads_out_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "relative.txt").symlink_to("../secret.txt")
    (root / "twice.txt").symlink_to(root / "link.txt")
    files = RootedFiles([root])
    for path in ("link.txt", "folder/secret.txt", "relative.txt", "twice.txt"):
        assert "not in a folder" in await refused(files, root / path)
        assert "not in a folder" in await refused(files, path)


async def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link.txt").symlink_to("sub/inner.txt")
    (root / "folder").symlink_to("sub")
    assert await read(RootedFiles([root]), root / "link.txt") == PUBLIC
    assert await read(RootedFiles([root]), root / "folder" / "inner.txt") == PUBLIC


async def test_a_link_in_a_circle_is_refused(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    await refused(RootedFiles([root]), root / "a")


async def test_an_allowed_folder_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "door").symlink_to(root)
    files = RootedFiles([tmp_path / "door"])
    assert await read(files, tmp_path / "door" / "report.txt") == PUBLIC
    assert await read(files, root / "report.txt") == PUBLIC
    assert await read(files, "report.txt") == PUBLIC


async def test_a_folder_is_no_file(root: Path) -> None:
    assert "not a regular file" in await refused(RootedFiles([root]), root / "sub")
    await refused(RootedFiles([root]), root)


async def test_a_pipe_that_nobody_writes_to_holds_nobody_up(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert "not a regular file" in await refused(RootedFiles([root]), root / "pipe")


async def test_a_pipe_put_there_after_the_look_holds_nobody_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = os.stat

    def look_and_swap(path: Any, **how: Any) -> os.stat_result:
        seen = look(path, **how)
        if path == "report.txt":
            (root / path).unlink()
            os.mkfifo(root / path)
        return seen

    monkeypatch.setattr(os, "stat", look_and_swap)
    assert "not a regular file" in await refused(RootedFiles([root]), root / "report.txt")
    assert (root / "report.txt").is_fifo()


async def test_a_socket_is_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)  # its name must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert "not a regular file" in await refused(RootedFiles([root]), root / "socket")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero", "/dev/tty"])
async def test_a_device_is_no_file_wherever_it_may_come_from(device: str) -> None:
    assert "not a regular file" in await refused(RootedFiles([Path("/dev")]), device)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
async def test_what_proc_shows_is_no_file_even_where_somebody_allows_it() -> None:
    assert "changed while" in await refused(RootedFiles([Path("/proc")]), "/proc/self/status")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc here")
async def test_a_link_into_proc_leads_out(root: Path) -> None:
    (root / "environ").symlink_to("/proc/self/environ")
    assert "not in a folder" in await refused(RootedFiles([root]), root / "environ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_named(root: Path) -> None:
    (root / "report.txt").chmod(0)
    assert "permission denied" in await refused(RootedFiles([root]), root / "report.txt")


@pytest.mark.parametrize("name", [".env", ".ssh/id_rsa", "sub/.git/config"])
async def test_hidden_files_stay_hidden(root: Path, name: str) -> None:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(SECRET)
    (root / "link").symlink_to(root / name)
    assert "hidden" in await refused(RootedFiles([root]), root / name)
    assert "hidden" in await refused(RootedFiles([root]), root / "link")


async def test_a_hidden_folder_may_be_allowed_by_name(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "report.txt").write_bytes(PUBLIC)
    assert await read(RootedFiles([tmp_path / ".cache"]), "report.txt") == PUBLIC


async def test_our_own_folder_stays_ours_within_an_allowed_one(root: Path) -> None:
    (root / "outspool").mkdir()
    (root / "outspool" / "outspool.db").write_bytes(SECRET)
    files = RootedFiles([root], private=root / "outspool")
    assert "outspool's own" in await refused(files, root / "outspool" / "outspool.db")
    assert await read(files, root / "report.txt") == PUBLIC


async def test_a_folder_within_our_own_may_be_allowed_by_name(root: Path) -> None:
    files = RootedFiles([root / "sub"], private=root)
    assert await read(files, root / "sub" / "inner.txt") == PUBLIC


async def test_a_file_swapped_for_a_link_after_the_look_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = rooted_files._walk

    def swap(*arguments: object) -> int:
        (root / "report.txt").unlink()
        (root / "report.txt").symlink_to(tmp_path / "secret.txt")
        return walk(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rooted_files, "_walk", swap)
    await refused(RootedFiles([root]), root / "report.txt")


async def test_a_folder_swapped_for_a_link_after_the_look_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner.txt").write_bytes(SECRET)
    walk = rooted_files._walk

    def swap(*arguments: object) -> int:
        (root / "sub").rename(root / "moved")
        (root / "sub").symlink_to(tmp_path)
        return walk(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rooted_files, "_walk", swap)
    assert "changed as it was opened" in await refused(RootedFiles([root]), root / "sub" / "inner.txt")


async def test_a_file_swapped_after_it_was_opened_is_read_as_it_was(root: Path, tmp_path: Path) -> None:
    async with RootedFiles([root]).open(str(root / "report.txt")) as file:
        (tmp_path / "secret.txt").replace(root / "report.txt")
        assert b"".join([chunk async for chunk in file.chunks()]) == PUBLIC


@pytest.mark.parametrize("now", [PUBLIC + b"!", PUBLIC[:-1], b""])
async def test_a_file_that_grows_or_shrinks_while_it_is_read_is_refused(root: Path, now: bytes) -> None:
    async with RootedFiles([root]).open(str(root / "report.txt")) as file:
        (root / "report.txt").write_bytes(now)
        with pytest.raises(AttachmentRefused, match="changed while"):
            assert not [chunk async for chunk in file.chunks()]


async def test_no_swap_however_timed_reads_what_lies_outside(root: Path, tmp_path: Path) -> None:
    target, spare = root / "sub", root / "spare"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "inner.txt").write_bytes(SECRET)
    spare.symlink_to(tmp_path / "out")
    stopping = threading.Event()

    def swap() -> None:
        while not stopping.is_set():
            target.rename(root / "real")
            spare.rename(target)
            target.rename(spare)
            (root / "real").rename(target)

    swapper = threading.Thread(target=swap)
    swapper.start()
    files, outcomes = RootedFiles([root]), set()
    try:
        for _ in range(400):
            try:
                outcomes.add(await read(files, target / "inner.txt"))
            except AttachmentRefused:
                outcomes.add(b"refused")
    finally:
        stopping.set()
        swapper.join()
    assert SECRET not in outcomes
    assert outcomes == {PUBLIC, b"refused"}


def open_descriptors() -> int:
    return len([*Path("/dev/fd").iterdir()])


async def test_no_descriptor_stays_open(root: Path) -> None:
    os.mkfifo(root / "pipe")
    before = open_descriptors()
    for path in ("report.txt", "sub/inner.txt", "sub", "pipe", "missing", "../x"):
        for _ in range(5):
            try:
                await read(RootedFiles([root]), path)
            except AttachmentRefused:
                continue
    assert open_descriptors() == before
