"""A hostile S3 server: no request goes to another bucket or key, and changed content is never sent."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from mcp_types import TextContent
from support.blobs import digest_of
from support.front import Front, front, message
from support.liar import Liar, reply
from support.s3 import BUCKET, OTHER_BUCKET, S3Server
from support.smtp_sink import SmtpSink

from outspool.api.errors import name_variables
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus

OpenFront = Callable[..., AbstractAsyncContextManager[Front]]


def a_file(content: bytes) -> dict[str, str]:
    """Return an attachment."""
    return {"filename": "a.bin", "content": b64encode(content).decode()}


@pytest.fixture
def opened(sink: SmtpSink, s3_server: S3Server, tmp_path: Path, database_url: str) -> OpenFront:
    """Return what runs an outspool that keeps attachments in the bucket, unless it is told of another place."""

    def run(*, worker: bool = False, **variables: str) -> AbstractAsyncContextManager[Front]:
        place = {
            "AWS_BUCKET_NAME": BUCKET,
            "AWS_ACCESS_KEY_ID": s3_server.keys.access_key_id,
            "AWS_SECRET_ACCESS_KEY": s3_server.keys.secret_access_key,
            "AWS_ENDPOINT_URL": s3_server.url,
        }
        return front(tmp_path / "data", sink, database_url, worker=worker, **(place | variables))

    return run


async def trouble(face: Front) -> str:
    """Return the sentence that says why no file can be stored; no email may have been."""
    before = (await face.stored())[:3]
    result = await face.call("send_email", message(attachments=[a_file(os.urandom(100))]))
    said = "".join(block.text for block in result.content if isinstance(block, TextContent))
    assert result.is_error, said
    assert said.startswith("store_unavailable: "), said
    assert said.isprintable()
    assert "http" not in said
    assert (await face.stored())[:3] == before == (0, 0, 0)
    return said


async def test_a_place_that_is_not_ours_to_use_takes_no_file_and_accepts_no_email(
    opened: OpenFront, s3_server: S3Server
) -> None:
    limited = {
        "AWS_ACCESS_KEY_ID": s3_server.limited.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.limited.secret_access_key,
    }
    before = s3_server.stored() | s3_server.stored(OTHER_BUCKET)
    async with Liar(lambda _: reply("200 OK")).listening() as trap:
        elsewhere = Liar(lambda _: reply("307 Temporary Redirect", Location=f"{trap.url}/{BUCKET}/x"))
        async with elsewhere.listening():
            for variables, words in (
                ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "AWS_SECRET_ACCESS_KEY"),
                (limited, "is not open to these keys"),
                ({"AWS_BUCKET_NAME": "nowhere-to-be-found"}, "does not exist"),
                ({"AWS_BUCKET_NAME": f"{BUCKET}/../{OTHER_BUCKET}"}, "AWS_BUCKET_NAME"),
                ({"AWS_ENDPOINT_URL": elsewhere.url}, "where attachments are kept"),
                ({"AWS_ENDPOINT_URL": "file:///etc/passwd"}, "AWS_ENDPOINT_URL"),
            ):
                async with opened(**variables) as face:
                    said = await trouble(face)
                assert words in name_variables(said), (variables, said)
                assert "wrong-secret" not in said
        assert trap.asked == []
    assert s3_server.stored() | s3_server.stored(OTHER_BUCKET) == before


async def test_a_handle_reaches_no_other_key_and_no_other_bucket(opened: OpenFront, s3_server: S3Server) -> None:
    foreign = os.urandom(100)
    client = s3_server.client()
    for bucket, key in (
        (BUCKET, "secret"),
        (BUCKET, digest_of(foreign)),
        (BUCKET, f"outspool/{digest_of(foreign)}"),
        (OTHER_BUCKET, f"outspool/attachments/{digest_of(foreign)}"),
    ):
        client.put_object(Bucket=bucket, Key=key, Body=foreign)
    client.close()
    async with opened() as face:
        await face.refuses(
            *(
                ({"attachments": [{"filename": "a", "blob": f"blob:{key}"}]}, "no handle")
                for key in (
                    *("../secret", "../../secret", "%2e%2e/%2e%2e/secret", "secret", "/secret", "..", ".", "*"),
                    *(f"../{digest_of(foreign)}", f"../../../{OTHER_BUCKET}/outspool/attachments/{digest_of(foreign)}"),
                    *(f"{digest_of(foreign)}?versionId=1", f"{digest_of(foreign)}\r\nHost: x", "\0" * 64, "é" * 64),
                )
            ),
            ({"attachments": [{"filename": "a", "blob": f"blob:{digest_of(foreign)}"}]}, "no stored file"),
        )


def lies(trap: str, content: bytes) -> list[tuple[EmailStatus, bytes]]:
    """Return what a server may answer that was given `content`, and what becomes of the email."""
    return [
        (EmailStatus.DEFERRED, reply("200 OK", content[:-400], Content_Length=len(content))),  # and then nothing
        (EmailStatus.DEFERRED, reply("302 Found", Location=trap)),
        (EmailStatus.DEFERRED, reply("301 Moved Permanently", Location=trap, X_Amz_Bucket_Region="eu-west-9")),
        (EmailStatus.DEFERRED, reply("403 Forbidden", b"<Error><Code>SignatureDoesNotMatch</Code></Error>")),
        (EmailStatus.FAILED, reply("200 OK", content[:-400])),
        (EmailStatus.FAILED, reply("200 OK", bytes(len(content)))),
        (EmailStatus.FAILED, reply("404 Not Found", b"<Error><Code>NoSuchKey</Code></Error>")),
    ]


async def test_what_comes_back_other_than_it_was_is_never_sent(opened: OpenFront, sink: SmtpSink) -> None:
    contents = [os.urandom(1_000) for _ in lies("", b"")]
    async with opened() as honest:
        accepted = await honest.accepted([{"attachments": [a_file(content)]} for content in contents])
    async with Liar(lambda _: reply("200 OK", b"trapped")).listening() as trap:
        lie = [lies(f"{trap.url}/{BUCKET}/x", content)[n] for n, content in enumerate(contents)]
        by_digest = {digest_of(content): answer for content, (_, answer) in zip(contents, lie, strict=True)}
        liar = Liar(lambda head: next((said for digest, said in by_digest.items() if digest in head), lie[1][1]))
        async with liar.listening(), opened(worker=True, AWS_ENDPOINT_URL=liar.url) as face:
            for answer, (status, _) in zip(accepted, lie, strict=True):
                email = await until(face, answer.id, status)
                assert email.problem is not None
                assert email.problem.code in {"attachments_away", "attachment_lost"}
        assert trap.asked == []
    assert sink.messages() == []
    deferred = [n for n, (status, _) in enumerate(lie) if status is EmailStatus.DEFERRED]
    async with opened(worker=True) as healed:
        for n in deferred:
            await healed.call("retry_email", {"email_id": accepted[n].id})
        mails = await healed.arrivals([accepted[n] for n in deferred])
    for n, mail in zip(deferred, mails, strict=True):
        [file] = [part for part in mail.parsed.walk() if part.get_filename()]
        assert file.get_payload(decode=True) == contents[n]
    assert len(sink.messages()) == len(deferred)


async def until(face: Front, email_id: str, status: EmailStatus) -> Email:
    """Return the email as soon as it has this status."""
    async with asyncio.timeout(40):
        while (email := await face.app.outbox.get(email_id)).status is not status:
            await asyncio.sleep(0.02)
    return email
