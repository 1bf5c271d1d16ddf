"""Attachments in a folder: permissions, locations, and disk failures."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
import time
from pathlib import Path

import pytest
from support.blobs import chunked, digest_of, keep, read

from outspool.adapters.blobs import local as local_blobs
from outspool.adapters.blobs.local import LocalBlobs
from outspool.errors import BlobsUnavailable

CONTENT = b"for one reader"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_file_is_named_by_its_digest_alone_in_two_levels_of_folders(tmp_path: Path) -> None:
    digest = await keep(LocalBlobs(tmp_path / "blobs"), CONTENT)
    assert files(tmp_path) == [tmp_path / "blobs" / digest[:2] / digest[2:4] / digest]


async def test_nobody_else_may_read_what_is_kept(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        await keep(LocalBlobs(tmp_path / "blobs"), CONTENT)
    finally:
        os.umask(old)
    [file] = files(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "blobs").stat().st_mode) == 0o700


async def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    await keep(LocalBlobs(tmp_path / "blobs"), CONTENT)
    assert steps[:2] == ["file", "name"]
    assert set(steps[2:]) == {"folder"}
    assert len(steps[2:]) == 4  # ab/cd, ab, blobs, and what blobs lies in


async def test_what_a_dead_process_was_writing_is_swept_away_in_time(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    await keep(blobs, CONTENT)
    old, young = tmp_path / "blobs/incoming/old", tmp_path / "blobs/incoming/young"
    for draft in (old, young):
        draft.write_bytes(b"half a fi")
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    await keep(blobs, b"another")
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
async def test_a_disk_that_takes_no_more_is_said_to_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(failure, os.strerror(failure))

    blobs = LocalBlobs(tmp_path / "blobs")
    monkeypatch.setattr(local_blobs, "_write", fail)
    with pytest.raises(BlobsUnavailable, match=os.strerror(failure).lower()):
        await keep(blobs, CONTENT)
    with pytest.raises(BlobsUnavailable):
        await blobs.check()
    assert files(tmp_path) == []


async def test_a_folder_that_cannot_be_made_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    blobs = LocalBlobs(tmp_path / "file" / "blobs")
    with pytest.raises(BlobsUnavailable, match="cannot be kept"):
        await keep(blobs, CONTENT)


async def test_a_link_put_in_a_files_place_is_not_followed(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = await keep(blobs, CONTENT)
    [file] = files(tmp_path)
    (tmp_path / "elsewhere").write_bytes(CONTENT)
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BlobsUnavailable):
        await read(blobs, CONTENT)
    assert await blobs.size(digest) != len(CONTENT)


async def test_a_store_that_is_interrupted_while_it_writes_harms_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor closed under a thread that writes to it may by then be another file's."""
    writing, may_write = asyncio.Event(), threading.Event()
    loop, write = asyncio.get_running_loop(), os.write
    written: list[bool] = []

    def slow_write(descriptor: int, chunk: bytes) -> None:
        loop.call_soon_threadsafe(writing.set)
        may_write.wait()
        write(descriptor, chunk)
        written.append(True)

    monkeypatch.setattr(local_blobs, "_write", slow_write)
    putting = asyncio.create_task(keep(LocalBlobs(tmp_path / "blobs"), CONTENT))
    await writing.wait()
    putting.cancel()
    await asyncio.sleep(0)
    assert not putting.done()
    may_write.set()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert written == [True]
    assert files(tmp_path) == []


async def test_a_digest_that_names_other_bytes_is_written_anew(tmp_path: Path) -> None:
    """Half a file under a whole one's name, as a disk full of errors may leave it."""
    blobs = LocalBlobs(tmp_path / "blobs")
    await keep(blobs, CONTENT)
    [file] = files(tmp_path)
    file.write_bytes(CONTENT[:3])
    await blobs.put(digest_of(CONTENT), len(CONTENT), chunked(CONTENT))
    assert await read(blobs, CONTENT) == CONTENT
