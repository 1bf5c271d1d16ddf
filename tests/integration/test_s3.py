"""S3 failures: wrong keys, and a server that is down, slow or lying."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.blobs import chunked, digest_of, keep, read
from support.liar import Liar, reply
from support.s3 import BUCKET, OTHER_BUCKET, Keys, S3Server, place
from support.tcp_proxy import TcpProxy

from outspool.adapters.blobs import s3 as s3_blobs
from outspool.adapters.blobs import s3_session
from outspool.adapters.blobs.s3 import S3Blobs, S3Place
from outspool.api.errors import name_variables
from outspool.errors import AttachmentLost, BlobsUnavailable, StoreUnavailable

CONTENT = os.urandom(1000)
LARGE = os.urandom(12 * 2**20)


@asynccontextmanager
async def bucket(where: S3Place, folder: Path) -> AsyncIterator[S3Blobs]:
    blobs = S3Blobs(where, scratch=folder)
    try:
        yield blobs
    finally:
        await blobs.close()


@asynccontextmanager
async def through_proxy(server: S3Server, folder: Path) -> AsyncIterator[tuple[S3Blobs, TcpProxy]]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(TcpProxy(server.port))
        through = place(server, url=f"http://127.0.0.1:{proxy.port}")
        yield await stack.enter_async_context(bucket(through, folder)), proxy


@asynccontextmanager
async def told_by(liar: Liar, server: S3Server, folder: Path) -> AsyncIterator[S3Blobs]:
    async with liar.listening(), bucket(place(server, url=liar.url), folder) as blobs:
        yield blobs


async def trouble(where: S3Place, folder: Path) -> str:
    """Return the one sentence that every use of a place meets with; it must hold no secret and no address."""
    async with bucket(where, folder) as blobs:
        said = set()
        for use in (
            lambda: blobs.put(digest_of(CONTENT), len(CONTENT), chunked(CONTENT)),
            lambda: blobs.put(digest_of(LARGE), len(LARGE), chunked(LARGE)),
            lambda: read(blobs, CONTENT),
            blobs.check,
        ):
            with pytest.raises(BlobsUnavailable) as error:
                await use()
            assert error.value.code == StoreUnavailable.code
            said.add(str(error.value))
    for sentence in said:
        assert str(where.secret_access_key) not in sentence
        assert "http" not in sentence
        assert "\n" not in sentence
    assert len(said) == 1, said
    return said.pop()


async def test_a_wrong_secret_is_the_secrets_fault(s3_server: S3Server, tmp_path: Path) -> None:
    wrong = place(s3_server, keys=Keys(s3_server.keys.access_key_id, "wrong-secret"))
    said = await trouble(wrong, tmp_path)
    assert "AWS_SECRET_ACCESS_KEY" in name_variables(said)


async def test_an_unknown_key_is_the_keys_fault(s3_server: S3Server, tmp_path: Path) -> None:
    said = await trouble(place(s3_server, keys=Keys("nobody", "nothing-at-all")), tmp_path)
    assert "AWS_ACCESS_KEY_ID" in name_variables(said)


async def test_the_bucket_of_somebody_else_is_closed(s3_server: S3Server, tmp_path: Path) -> None:
    said = await trouble(place(s3_server, keys=s3_server.limited), tmp_path)
    assert "is not open to these keys" in said


async def test_keys_for_one_bucket_are_enough_for_it(s3_server: S3Server, tmp_path: Path) -> None:
    async with bucket(place(s3_server, bucket=OTHER_BUCKET, keys=s3_server.limited), tmp_path) as blobs:
        await keep(blobs, CONTENT)
        assert await read(blobs, CONTENT) == CONTENT


async def test_a_bucket_that_does_not_exist_is_named(s3_server: S3Server, tmp_path: Path) -> None:
    said = await trouble(place(s3_server, bucket="nowhere-to-be-found"), tmp_path)
    assert '"nowhere-to-be-found"' in said
    assert "does not exist" in said


@pytest.mark.parametrize("name", ["../other", "a b", "UPPER?x=y", "a\nb", "x" * 300])
async def test_what_cannot_be_a_bucket_is_said_to_be_none(s3_server: S3Server, tmp_path: Path, name: str) -> None:
    said = await trouble(place(s3_server, bucket=name), tmp_path)
    assert "AWS_BUCKET_NAME" in name_variables(said)


@pytest.mark.parametrize("url", ["not a url", "http://", "localhost:1234", "http://a b/"])
async def test_what_cannot_be_an_endpoint_is_said_to_be_none(s3_server: S3Server, tmp_path: Path, url: str) -> None:
    said = await trouble(replace(place(s3_server), endpoint_url=url), tmp_path)
    assert "AWS_ENDPOINT_URL" in name_variables(said)


async def test_a_server_that_is_away_is_said_to_be(s3_server: S3Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        said = await trouble(place(s3_server, url=url), tmp_path)
    assert "cannot be reached" in said


async def test_a_server_that_says_nothing_is_not_waited_for_long(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_blobs, "_READ_SECONDS", 0.3)
    async with TcpProxy(s3_server.port) as proxy, asyncio.timeout(30):
        proxy.is_black_hole = True
        said = await trouble(place(s3_server, url=f"http://127.0.0.1:{proxy.port}"), tmp_path)
    assert "did not answer in time" in said


async def test_an_outage_that_ends_is_over(own_s3: S3Server, tmp_path: Path) -> None:
    async with bucket(place(own_s3), tmp_path / "scratch") as blobs:
        await keep(blobs, CONTENT)
        own_s3.stop()
        with pytest.raises(BlobsUnavailable):
            await read(blobs, CONTENT)
        own_s3.start()
        assert await read(blobs, CONTENT) == CONTENT


async def test_an_upload_that_is_cut_leaves_no_object_and_no_half_of_one(s3_server: S3Server, tmp_path: Path) -> None:
    content = os.urandom(12 * 2**20)
    async with through_proxy(s3_server, tmp_path) as (blobs, proxy):

        async def dying() -> AsyncIterator[bytes]:
            yield content[: 6 * 2**20]
            await proxy.refuse()
            proxy.reset_all()
            yield content[6 * 2**20 :]

        with pytest.raises(BlobsUnavailable):
            await blobs.put(digest_of(content), len(content), dying())
        await proxy.listen()
        assert await blobs.size(digest_of(content)) is None
        await keep(blobs, content)
        assert await read(blobs, content) == content


async def test_a_server_that_stops_reading_does_not_hold_an_upload_for_ever(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_session, "REQUEST_SECONDS", 1)
    deaf = Liar(lambda head: reply("404 Not Found") if head.startswith("HEAD") else None)
    async with told_by(deaf, s3_server, tmp_path) as blobs, asyncio.timeout(15):
        with pytest.raises(BlobsUnavailable, match="did not answer in time"):
            await blobs.put(digest_of(LARGE[: 5 * 2**20]), 5 * 2**20, chunked(LARGE[: 5 * 2**20]))


async def test_an_interrupted_upload_leaves_no_parts_behind(s3_server: S3Server, tmp_path: Path) -> None:
    content = os.urandom(12 * 2**20)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield content[: 6 * 2**20]
        begun.set()
        await asyncio.Event().wait()

    async with bucket(place(s3_server), tmp_path) as blobs:
        putting = asyncio.create_task(blobs.put(digest_of(content), len(content), endless()))
        await begun.wait()
        putting.cancel()
        await asyncio.wait({putting})
    client = s3_server.client()
    unfinished = client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    client.close()
    assert digest_of(content) not in str(unfinished)


async def test_a_key_is_the_prefix_and_the_digest_and_nothing_else(s3_server: S3Server, tmp_path: Path) -> None:
    async with bucket(place(s3_server), tmp_path) as blobs:
        digest = await keep(blobs, os.urandom(20))
        await blobs.check()
    stored = s3_server.stored()
    assert f"outspool/attachments/{digest}" in stored
    assert "outspool/check" not in stored


async def test_nothing_stays_on_this_machine(s3_server: S3Server, tmp_path: Path) -> None:
    async with bucket(place(s3_server), tmp_path / "scratch") as blobs:
        await keep(blobs, LARGE)
        assert await read(blobs, LARGE) == LARGE
    assert os.listdir(tmp_path / "scratch") == []  # noqa: PTH208


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
async def test_nobody_is_led_to_another_server(s3_server: S3Server, tmp_path: Path, status: str) -> None:
    async with Liar(lambda _: reply("200 OK", b"x" * len(CONTENT))).listening() as trap:
        redirect = Liar(lambda _: reply(status, Location=f"{trap.url}/{BUCKET}/x", X_Amz_Bucket_Region="eu-west-9"))
        async with redirect.listening() as door:
            said = await trouble(place(s3_server, url=door.url), tmp_path)
    assert "is elsewhere" in said
    assert trap.asked == []


async def test_a_body_that_ends_too_early_is_an_outage(s3_server: S3Server, tmp_path: Path) -> None:
    async with told_by(
        Liar(lambda _: reply("200 OK", CONTENT[:-400], Content_Length=len(CONTENT))), s3_server, tmp_path
    ) as blobs:
        with pytest.raises(BlobsUnavailable, match="connection failed"):
            await read(blobs, CONTENT)
        assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_a_body_that_is_shorter_than_what_was_stored_is_lost(s3_server: S3Server, tmp_path: Path) -> None:
    async with told_by(Liar(lambda _: reply("200 OK", CONTENT[:-400])), s3_server, tmp_path) as blobs:
        with pytest.raises(AttachmentLost, match="no longer what"):
            await read(blobs, CONTENT)


async def test_another_body_of_the_same_length_is_lost(s3_server: S3Server, tmp_path: Path) -> None:
    async with told_by(Liar(lambda _: reply("200 OK", bytes(len(CONTENT)))), s3_server, tmp_path) as blobs:
        with pytest.raises(AttachmentLost, match="digest differs"):
            await read(blobs, CONTENT)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", reply("200 OK", b"<not xml"), reply("418 Teapot")])
async def test_what_is_no_s3_is_an_outage(s3_server: S3Server, tmp_path: Path, answer: bytes) -> None:
    async with told_by(Liar(lambda _: answer), s3_server, tmp_path) as blobs:
        with pytest.raises(BlobsUnavailable) as error:
            await blobs.put(digest_of(LARGE), len(LARGE), chunked(LARGE))
    assert "<not" not in str(error.value)


async def test_a_server_that_is_busy_is_an_outage(s3_server: S3Server, tmp_path: Path) -> None:
    body = b"<Error><Code>SlowDown</Code><Message>http://secret.example</Message></Error>"
    async with told_by(Liar(lambda _: reply("503 Slow Down", body)), s3_server, tmp_path) as blobs:
        with pytest.raises(BlobsUnavailable, match='"SlowDown"'):
            await read(blobs, CONTENT)


async def test_without_the_extra_the_operator_is_told_what_to_install(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aioboto3", None)
    assert "outspool[s3]" in await trouble(place(s3_server), tmp_path)


async def test_the_secret_is_not_shown_with_the_place(s3_server: S3Server) -> None:
    assert s3_server.keys.secret_access_key not in repr(place(s3_server)) + str(place(s3_server))
