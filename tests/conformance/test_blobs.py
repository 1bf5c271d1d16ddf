"""`BlobStore` on a folder and on a real S3 server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.blobs import chunked, digest_of, read
from support.s3 import BUCKET, place

from outspool.adapters.blobs.local import LocalBlobs
from outspool.adapters.blobs.s3 import S3Blobs
from outspool.errors import AttachmentLost, AttachmentRefused
from outspool.ports.files import BlobStore

SIZES = [0, 1, 5 * 2**20 - 1, 5 * 2**20, 5 * 2**20 + 1, 12 * 2**20 + 7]


@pytest.fixture(params=["local", "s3"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BlobStore]:
    store: BlobStore = LocalBlobs(tmp_path / "blobs")
    if request.param == "s3":
        store = S3Blobs(place(request.getfixturevalue("s3_server")), scratch=tmp_path / "scratch")
    yield store
    await store.close()


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_stored_is_read_back_whole(blobs: BlobStore, size: int) -> None:
    content = os.urandom(size)
    await blobs.put(digest_of(content), size, chunked(content))
    assert await blobs.size(digest_of(content)) == size
    assert await read(blobs, content) == content


async def test_the_size_of_the_chunks_makes_no_difference(blobs: BlobStore) -> None:
    content = os.urandom(6 * 2**20)
    await blobs.put(digest_of(content), len(content), chunked(content, size=4093))
    assert await read(blobs, content) == content


async def test_what_is_not_stored_has_no_size_and_cannot_be_read(blobs: BlobStore) -> None:
    content = os.urandom(10)
    assert await blobs.size(digest_of(content)) is None
    with pytest.raises(AttachmentLost, match="no longer where"):
        await read(blobs, content)


async def test_the_same_file_stored_twice_is_there_once_and_not_sent_again(blobs: BlobStore) -> None:
    content = os.urandom(1000)
    await blobs.put(digest_of(content), 1000, chunked(content))

    async def untouchable() -> AsyncIterator[bytes]:
        raise AssertionError("it was read again")
        yield b""

    await blobs.put(digest_of(content), 1000, untouchable())
    assert await read(blobs, content) == content


async def test_the_same_file_stored_by_many_at_once_is_whole(blobs: BlobStore) -> None:
    content = os.urandom(6 * 2**20)
    puts = (blobs.put(digest_of(content), len(content), chunked(content)) for _ in range(6))
    await asyncio.gather(*puts)
    assert await read(blobs, content) == content


@pytest.mark.parametrize("size", [1000, 6 * 2**20])
@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b"y" + c[1:], lambda _: b""])
async def test_other_bytes_than_announced_are_refused_and_nothing_is_stored(
    blobs: BlobStore, size: int, change: object
) -> None:
    content = b"x" + os.urandom(size - 1)
    assert callable(change)
    with pytest.raises(AttachmentRefused, match="changed while"):
        await blobs.put(digest_of(content), size, chunked(change(content)))
    assert await blobs.size(digest_of(content)) is None


@pytest.mark.parametrize("size", [1000, 6 * 2**20])
async def test_a_source_that_fails_leaves_nothing_behind(blobs: BlobStore, size: int) -> None:
    content = os.urandom(size)

    async def broken() -> AsyncIterator[bytes]:
        yield content[: size - 1]
        raise AttachmentRefused("The disk was pulled out.")

    with pytest.raises(AttachmentRefused, match="pulled out"):
        await blobs.put(digest_of(content), size, broken())
    assert await blobs.size(digest_of(content)) is None


@pytest.mark.parametrize("size", [1000, 6 * 2**20])
async def test_a_store_that_is_interrupted_leaves_nothing_behind(blobs: BlobStore, size: int) -> None:
    content = os.urandom(size)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield content[: size - 1]
        begun.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(blobs.put(digest_of(content), size, endless()))
    await begun.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await blobs.size(digest_of(content)) is None


async def test_what_is_deleted_is_gone_and_may_come_again(blobs: BlobStore) -> None:
    content = os.urandom(100)
    await blobs.put(digest_of(content), 100, chunked(content))
    await blobs.delete(digest_of(content))
    await blobs.delete(digest_of(content))
    assert await blobs.size(digest_of(content)) is None
    await blobs.put(digest_of(content), 100, chunked(content))
    assert await read(blobs, content) == content


async def test_a_file_deleted_while_it_is_read_is_read_to_its_end(blobs: BlobStore) -> None:
    content = os.urandom(3 * 2**20)
    await blobs.put(digest_of(content), len(content), chunked(content))
    async with blobs.open(digest_of(content), len(content)) as chunks:
        await blobs.delete(digest_of(content))
        assert b"".join([chunk async for chunk in chunks]) == content


async def test_a_file_of_another_size_than_remembered_is_not_handed_out(blobs: BlobStore) -> None:
    content = os.urandom(100)
    await blobs.put(digest_of(content), 100, chunked(content))
    with pytest.raises(AttachmentLost, match="no longer what"):
        async with blobs.open(digest_of(content), 99):
            pass


@pytest.mark.parametrize(
    "key", ["", "../../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "/" + "a" * 63, f"../{'a' * 61}", "é" * 64]
)
async def test_what_is_no_digest_never_becomes_a_path_or_a_key(blobs: BlobStore, key: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case"):
        await blobs.put(key, 0, chunked(b""))
    with pytest.raises(ValueError, match="64 lower-case"):
        await blobs.size(key)
    with pytest.raises(ValueError, match="64 lower-case"):
        await blobs.delete(key)
    with pytest.raises(ValueError, match="64 lower-case"):
        async with blobs.open(key, 0):
            pass


async def test_a_healthy_place_passes_its_check_and_is_left_as_it_was(blobs: BlobStore, tmp_path: Path) -> None:
    await blobs.check()
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


async def test_a_file_changed_where_it_is_kept_is_never_handed_out_whole(blobs: BlobStore, tmp_path: Path) -> None:
    content = os.urandom(3 * 2**20)
    digest = digest_of(content)
    await blobs.put(digest, len(content), chunked(content))
    forged = content[:-1] + bytes([content[-1] ^ 1])
    if isinstance(blobs, LocalBlobs):
        (tmp_path / "blobs" / digest[:2] / digest[2:4] / digest).write_bytes(forged)
    else:
        client = await blobs._get_client()  # type: ignore[attr-defined]
        await client.put_object(Bucket=BUCKET, Key=f"outspool/attachments/{digest}", Body=forged)
    seen: list[bytes] = []
    with pytest.raises(AttachmentLost, match="digest differs"):
        await read(blobs, content, into=seen)
    assert sum(map(len, seen)) < len(content)
