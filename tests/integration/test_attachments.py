"""Attachments from a caller to a mail server, by folder and real bucket, on both databases."""

from __future__ import annotations

import asyncio
import base64
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.blobs import digest_of
from support.s3 import BUCKET, S3Server
from support.smtp_sink import SmtpSink
from support.tcp_proxy import TcpProxy
from support.variables import variables

from outspool.adapters.sql.tables import attachments, blobs
from outspool.adapters.system_clock import SystemClock
from outspool.api.errors import name_variables
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.attachment import MAX_ATTACHMENTS
from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus as S
from outspool.errors import (
    AttachmentRefused,
    BlobsUnavailable,
    IdempotencyConflict,
    MisconfiguredError,
    Refusal,
    StoreUnavailable,
    TooLarge,
)
from outspool.services.acceptance.attachment_requests import AttachmentRequest
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.blob_collector import BlobCollector

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def text(content: str, filename: str = "a.txt", **more: Any) -> AttachmentRequest:
    return AttachmentRequest(text=content, filename=filename, **more)


def content(raw: bytes, filename: str = "a.bin", **more: Any) -> AttachmentRequest:
    return AttachmentRequest(content=base64.b64encode(raw).decode(), filename=filename, **more)


def path(where: object, **more: Any) -> AttachmentRequest:
    return AttachmentRequest(path=str(where), **more)


def draft(*files: AttachmentRequest, **more: Any) -> EmailRequest:
    return EmailRequest(
        **{"to": ["ann@example.com"], "subject": "Files", "body": "See there.\n", "attachments": files, **more}
    )


async def sent(app: Outspool, *files: AttachmentRequest, **more: Any) -> Email:
    email = await app.outbox.wait_for_outcome(await app.outbox.accept(draft(*files, **more)), max_wait=30)
    assert email.status is S.SENT, email.problem
    return email


async def until(app: Outspool, email: Email, *statuses: S, max_wait: float = 40) -> Email:
    async with asyncio.timeout(max_wait):
        while (now := await app.outbox.get(str(email.id))).status not in statuses:
            await asyncio.sleep(0.05)
    return now


def parts(message: EmailMessage) -> list[tuple[str | None, str, bytes]]:
    """Return name, type and bytes of each file of a message, as a mail program finds them."""
    return [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))  # type: ignore[misc]
        for part in message.walk()
        if part.get_filename() is not None
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder that files may be sent from."""
    folder = tmp_path / "outgoing"
    folder.mkdir()
    return folder


@pytest.fixture
def attaching(
    request: pytest.FixtureRequest, outspool: OpenOutspool, database_url: str, root: Path, tmp_path: Path
) -> OpenOutspool:
    """Return what runs an outspool that keeps attachments in a folder beside SQLite, in a bucket beside Postgres.

    The place knows of the database only whether others share it, which has tests of its own.
    """
    place: dict[str, str] = {}
    if not database_url.startswith("sqlite"):
        place = bucket(request.getfixturevalue("s3_server"))

    @asynccontextmanager
    async def run(**variables: Any) -> AsyncIterator[Outspool]:
        known = {"EMAIL_ATTACHMENT_ROOTS": str(root), "OUTSPOOL_DATA_DIR": tmp_path / "data", **place}
        async with outspool(**known | variables) as app:
            yield app

    return run


def bucket(server: S3Server, *, url: str | None = None) -> dict[str, str]:
    return {
        "AWS_BUCKET_NAME": BUCKET,
        "AWS_ACCESS_KEY_ID": server.keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.keys.secret_access_key,
        "AWS_ENDPOINT_URL": url or server.url,
    }


async def test_a_file_of_each_kind_arrives_whole(
    attaching: OpenOutspool, sink: SmtpSink, root: Path, tmp_path: Path
) -> None:
    report, stored = os.urandom(3_000_000), os.urandom(7_000_000)
    (root / "report.pdf").write_bytes(report)
    (tmp_path / "stored.bin").write_bytes(stored)
    async with attaching() as app:
        handle = await app.attach(tmp_path / "stored.bin")
        email = await sent(
            app,
            text("name,größe\nA,1\n", "maße.csv"),
            path(root / "report.pdf"),
            content(PNG, "logo.png", content_id="logo"),
            AttachmentRequest(blob=handle, filename="stored.bin"),
            html='<p>Look: <img src="cid:logo"></p>',
        )
    [mail] = sink.messages()
    assert parts(mail.parsed) == [
        ("logo.png", "image/png", PNG),
        ("maße.csv", "text/csv", "name,größe\nA,1\n".encode()),
        ("report.pdf", "application/pdf", report),
        ("stored.bin", "application/octet-stream", stored),
    ]
    assert {a.digest for a in email.content.attachments} == {digest_of(raw) for _, _, raw in parts(mail.parsed)}
    [logo] = [part for part in mail.parsed.walk() if part["Content-ID"] is not None]
    assert (logo["Content-ID"], logo.get_content_disposition()) == ("<logo>", "inline")


async def test_the_same_file_in_many_emails_is_stored_once(
    attaching: OpenOutspool, sink: SmtpSink, tmp_path: Path, s3_server: S3Server
) -> None:
    raw = os.urandom(1000)
    async with attaching() as app:
        await asyncio.gather(*(sent(app, content(raw), content(raw, "b.bin")) for _ in range(5)))
        is_folder = not app.settings.aws_bucket_name
    stored = {path.name for path in (tmp_path / "data").rglob("*") if path.is_file()}
    stored |= {key.rpartition("/")[2] for key in s3_server.stored()}
    assert digest_of(raw) in stored
    assert len([*(tmp_path / "data" / "attachments").glob("*/*/*")]) == is_folder
    assert all(len(parts(mail.parsed)) == 2 for mail in sink.messages())


async def test_a_scheduled_email_sends_the_file_as_it_was_when_it_was_accepted(
    attaching: OpenOutspool, sink: SmtpSink, root: Path
) -> None:
    (root / "a.txt").write_bytes(b"as it was")
    async with attaching() as app:
        email = await app.outbox.accept(draft(path(root / "a.txt")), when=When(delay="PT2S"))
        (root / "a.txt").write_bytes(b"as it is now")
        (root / "a.txt").unlink()
        await until(app, email, S.SENT)
    [mail] = sink.messages()
    assert parts(mail.parsed) == [("a.txt", "text/plain", b"as it was")]


async def test_files_of_a_waiting_email_can_be_replaced_and_taken_off(attaching: OpenOutspool, sink: SmtpSink) -> None:
    async with attaching(worker=False) as app:
        email = await app.outbox.accept(draft(text("one"), content(b"two")), when=When(delay="PT1H"))
        changed = await app.outbox.update(str(email.id), {"attachments": [text("three", "c.txt")]})
        assert [a.filename for a in changed.content.attachments] == ["c.txt"]
        kept = await app.outbox.update(str(email.id), {"subject": "Other"})
        assert [a.filename for a in kept.content.attachments] == ["c.txt"]
        bare = await app.outbox.update(str(email.id), {"attachments": None})
        assert bare.content.attachments == ()
        assert [e.detail for e in bare.events if e.code == "updated"] == ["attachments", "subject", "attachments"]


async def test_the_same_call_gives_the_same_email_and_another_file_is_another_payload(
    attaching: OpenOutspool, root: Path
) -> None:
    (root / "a.txt").write_bytes(b"one")
    async with attaching(worker=False) as app:
        first = await app.outbox.accept(draft(path(root / "a.txt")), idempotency_key="k")
        assert (await app.outbox.accept(draft(path(root / "a.txt")), idempotency_key="k")).id == first.id
        (root / "a.txt").write_bytes(b"two")
        with pytest.raises(IdempotencyConflict):
            await app.outbox.accept(draft(path(root / "a.txt")), idempotency_key="k")


DIGITS = "a" * 64
NOT_ONE_FILE = [
    ({}, "nothing to attach"),
    ({"filename": "a.txt"}, "nothing to attach"),
    ({"text": "a", "content": "YQ==", "filename": "a"}, "`text` and `content`"),
    ({"text": "", "path": "a.txt", "blob": "", "filename": "a"}, "`text` and `path` and `blob`"),
    ({"text": "a"}, "no filename"),
    ({"content": "YQ=="}, "no filename"),
    ({"text": "\ud800", "filename": "a.txt"}, "half a character"),
    ({"blob": f"blob:{'0' * 64}", "filename": "a"}, "no stored file"),
]
BAD_BASE64 = [
    "YR",
    "hello world",
    "hello",
    "Y===",
    "YQ=",
    "Y Q=",
    "YQ==YQ==",
    "=",
    "data:text/plain;base64,Y",
    "-_==",
    "-/+_",
    "https://example.com/a.pdf",
    "[1, 2, 3]",
    "YQ==\0",
    "ÿ",
    "\ud800",
]
BAD_HANDLES = ["", "blob:", DIGITS, f"blob:{DIGITS.upper()}", f"blob:{DIGITS[1:]}", f"blob:{DIGITS}\n", "blob:../../x"]
BAD_NAMES = {
    "does not show": ["a\rb", "a\0b", "a\r\nBcc: x@example.com", "gpj\u202eexe.", "\u2028"],
    "is a path": ["../a", "/etc/passwd", "a\\b", "C:\\a"],
    "no name of a file": ["", ".", "..", " ", "a."],
    "something else": ["CON", "=?utf-8?q?x=0D=0A?=.txt"],
}
BAD_PATHS = {
    "not in a folder": ["/etc/passwd", "/proc/self/environ", "/dev/zero", "link.txt"],
    "two dots": ["../secret.txt", "x/../../secret.txt"],
    "~": ["~/secret.txt"],
    "URL": ["file:///etc/passwd"],
    "not a regular file": ["pipe"],
    "no file": ["missing.txt"],
    "is no path": ["a\0b", ""],
}
BAD_TYPES = {
    "media type": ["a", "text/plain\r\nX: y", "text/plain; name=x"],
    "cannot be an attachment": ["multipart/mixed", "message/rfc822"],
}
BAD_IDS = ["a b", "a>\r\nBcc: x@example.com", "\0", "x" * 300]


def refused() -> Iterator[tuple[AttachmentRequest, str]]:
    """Yield what is no file, and the words that say why."""
    yield from ((AttachmentRequest(**bad), words) for bad, words in NOT_ONE_FILE)
    yield from ((AttachmentRequest(content=bad, filename="a"), "not base64") for bad in BAD_BASE64)
    yield from ((AttachmentRequest(blob=bad, filename="a"), "no handle") for bad in BAD_HANDLES)
    yield from ((text("a", bad), words) for words, names in BAD_NAMES.items() for bad in names)
    yield from ((path(bad), words) for words, paths in BAD_PATHS.items() for bad in paths)
    yield from ((text("a", content_type=bad), words) for words, types in BAD_TYPES.items() for bad in types)
    yield from ((text("a", content_id=bad), "content id") for bad in BAD_IDS)


async def test_what_is_no_file_is_refused_in_a_sentence_and_nothing_is_stored(
    attaching: OpenOutspool, sink: SmtpSink, root: Path, tmp_path: Path, s3_server: S3Server
) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(root / "pipe")
    good = os.urandom(50)
    before = {key for key in s3_server.stored() if "attachments" in key}
    async with attaching(worker=False) as app:
        for bad, words in refused():
            with pytest.raises(AttachmentRefused) as error:
                await app.outbox.accept(draft(content(good), bad))
            said = str(error.value)
            assert words in said, (bad, said)
            assert "\n" not in said
            assert "\r" not in said
            assert len(said) < 500
        with pytest.raises(AttachmentRefused, match="content_id"):
            await app.outbox.accept(draft(text("a", content_id="x"), text("b", content_id="<x>")))
        with pytest.raises(AttachmentRefused, match=f"{MAX_ATTACHMENTS} is the most"):
            await app.outbox.accept(draft(*[text("a")] * (MAX_ATTACHMENTS + 1)))
        assert (await app.outbox.find()).emails == ()
    assert [*(tmp_path / "data").glob("attachments/*/*/*")] == []
    assert {key for key in s3_server.stored() if "attachments" in key} == before


async def test_a_refusal_for_another_reason_stores_no_file_either(
    attaching: OpenOutspool, root: Path, tmp_path: Path
) -> None:
    async with attaching(worker=False, EMAIL_ALLOWED_RECIPIENTS="@example.com") as app:
        for bad in (
            draft(text("a"), to=["not an address"]),
            draft(text("a"), to=["x@other.org"]),
            draft(text("a"), to=[]),
        ):
            with pytest.raises(Refusal):
                await app.outbox.accept(bad)
    assert [*(tmp_path / "data").glob("attachments/*/*/*")] == []


async def test_too_much_is_refused_by_its_size_before_it_is_read(attaching: OpenOutspool, root: Path) -> None:
    with (root / "huge.bin").open("wb") as huge:
        huge.truncate(10**12)  # a terabyte that takes no room
    async with attaching(worker=False, EMAIL_MAX_MESSAGE_MB="1") as app, asyncio.timeout(20):
        for bad in (
            draft(path(root / "huge.bin")),
            draft(content(bytes(800_000))),
            draft(text("é" * 400_000)),
            draft(*(content(bytes([n]) * 250_000) for n in range(4))),
            draft(content(bytes(700_000)), body="x" * 200_000),
        ):
            with pytest.raises(TooLarge):
                await app.outbox.accept(bad)
        accepted = await app.outbox.accept(draft(content(bytes(700_000))))
        assert accepted.content.attachments[0].size == 700_000


async def test_a_bomb_is_carried_as_it_is_and_never_opened(attaching: OpenOutspool, sink: SmtpSink) -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    async with attaching() as app:
        await sent(app, content(bomb, "bomb.gz"))
    [mail] = sink.messages()
    assert parts(mail.parsed) == [("bomb.gz", "application/gzip", bomb)]


async def test_a_file_that_changes_between_the_looks_is_refused(
    attaching: OpenOutspool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a.txt").write_bytes(b"at the first look")
    async with attaching(worker=False) as app:
        note = app.ledger.note

        async def change(*arguments: Any, **more: Any) -> None:
            (root / "a.txt").write_bytes(b"at a second look.")
            await note(*arguments, **more)

        monkeypatch.setattr(app.ledger, "note", change)
        with pytest.raises(AttachmentRefused, match="changed while"):
            await app.outbox.accept(draft(path(root / "a.txt")))
        assert (await app.outbox.find()).emails == ()
        assert await app.blobs.size(digest_of(b"at the first look")) is None


async def test_a_name_in_any_script_and_of_any_length_arrives(attaching: OpenOutspool, sink: SmtpSink) -> None:
    names = [
        "отчёт за 2026.pdf",
        "報告書.pdf",
        "a'b;c=d,e.pdf",
        'quo"te.pdf',
        "100%.pdf",
        "é" * 300 + ".pdf",
        ".env",
        "a b",
    ]
    async with attaching() as app:
        email = await sent(app, *(text("a", name) for name in names))
    [mail] = sink.messages()
    arrived = [name for name, _, _ in parts(mail.parsed)]
    assert arrived == [a.filename for a in email.content.attachments]
    assert [name for name in arrived if name not in names] == ["é" * 125 + ".pdf"]


async def test_an_outage_of_the_bucket_at_acceptance_is_said_and_nothing_is_stored(
    outspool: OpenOutspool, s3_server: S3Server
) -> None:
    async with TcpProxy(s3_server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with outspool(worker=False, **bucket(s3_server, url=url)) as app:
            await proxy.refuse()
            proxy.reset_all()
            with pytest.raises(BlobsUnavailable) as said:
                await app.outbox.accept(draft(text("a")))
            assert "store_unavailable" in str(said.value)
            assert (await app.outbox.find()).emails == ()
            await app.outbox.accept(EmailRequest(to=["ann@example.com"], subject="No files", body="go on\n"))
            await proxy.listen()
            await app.outbox.accept(draft(text("a")))


async def test_an_outage_of_the_bucket_at_delivery_defers_and_burns_no_attempt(
    outspool: OpenOutspool, sink: SmtpSink, s3_server: S3Server
) -> None:
    raw = os.urandom(6_000_000)
    async with TcpProxy(s3_server.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        async with outspool(worker=False, **bucket(s3_server, url=url)) as app:
            email = await app.outbox.accept(draft(content(raw)))
        await proxy.refuse()
        proxy.reset_all()
        async with outspool(**bucket(s3_server, url=url)) as app:
            waiting = await until(app, email, S.DEFERRED)
            assert waiting.problem is not None
            assert waiting.problem.code == "attachments_away"
            assert waiting.attempts == 0
            assert waiting.due_at - waiting.events[-1].at == timedelta(minutes=1)
            assert (await app.outbox.account()).failures == 0
            other = await app.outbox.accept(EmailRequest(to=["ann@example.com"], subject="No files", body="go on\n"))
            await until(app, other, S.SENT)
            await proxy.listen()
            await app.outbox.retry(str(email.id))
            assert (await until(app, email, S.SENT)).attempts == 1
    assert [parts(mail.parsed) for mail in sink.messages()] == [[], [("a.bin", "application/octet-stream", raw)]]


async def test_a_file_that_is_gone_fails_its_email_and_no_other(
    outspool: OpenOutspool, sink: SmtpSink, s3_server: S3Server
) -> None:
    async with outspool(worker=False, **bucket(s3_server)) as app:
        lost = await app.outbox.accept(draft(content(os.urandom(100))))
        good = await app.outbox.accept(draft(content(os.urandom(100))))
        await app.blobs.delete(lost.content.attachments[0].digest)
    async with outspool(**bucket(s3_server)) as app:
        failed = await until(app, lost, S.FAILED)
        assert failed.problem is not None
        assert failed.problem.code == "attachment_lost"
        await until(app, good, S.SENT)
    assert len(sink.messages()) == 1


async def test_a_file_on_another_machine_waits_for_that_machine(
    sink: SmtpSink, outspool: OpenOutspool, tmp_path: Path, database_url: str
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    async with outspool(worker=False, OUTSPOOL_DATA_DIR=here) as app:
        email = await app.outbox.accept(draft(text("a")))
    async with outspool(OUTSPOOL_DATA_DIR=there) as app:
        waiting = await until(app, email, S.DEFERRED, S.FAILED)
        assert waiting.problem is not None
        if database_url.startswith("sqlite:"):  # which is on one machine, so that the file is nowhere
            assert waiting.problem.code == "attachment_lost"
            return
        assert waiting.problem.code == "attachments_away"
        assert "AWS_BUCKET_NAME" in name_variables(waiting.problem.hint)
    async with outspool(OUTSPOOL_DATA_DIR=here) as app:
        await app.outbox.retry(str(email.id))
        await until(app, email, S.SENT)
    assert len(sink.messages()) == 1


async def test_a_file_damaged_where_it_is_kept_is_never_sent(
    outspool: OpenOutspool, sink: SmtpSink, tmp_path: Path
) -> None:
    raw = os.urandom(3_000_000)
    async with outspool(worker=False) as app:
        email = await app.outbox.accept(draft(content(raw)))
    [kept] = (tmp_path / "attachments").glob("*/*/*")
    kept.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    async with outspool() as app:
        failed = await until(app, email, S.FAILED)
        assert failed.problem is not None
        assert failed.problem.code == "attachment_lost"
        await until(app, await app.outbox.accept(draft()), S.SENT)
    [mail] = sink.messages()
    assert parts(mail.parsed) == []


async def test_a_handle_is_good_for_a_month_and_as_long_as_an_email_has_it(
    attaching: OpenOutspool, tmp_path: Path
) -> None:
    for name in ("used", "unused"):
        (tmp_path / f"{name}.bin").write_bytes(os.urandom(100))
    async with attaching(worker=False) as app:
        used, unused = [await app.attach(tmp_path / f"{name}.bin") for name in ("used", "unused")]
        await app.outbox.accept(draft(AttachmentRequest(blob=used, filename="a.bin")))
        for days, is_there in ((29, True), (31, False)):
            clock = _Later(timedelta(days=days))
            await BlobCollector(app.blobs, app.ledger, clock=clock).sweep()
            digest = digest_of((tmp_path / "unused.bin").read_bytes())
            assert (await app.blobs.size(digest) is not None) is is_there
        await app.outbox.accept(draft(AttachmentRequest(blob=used, filename="b.bin")))
        with pytest.raises(AttachmentRefused, match="no stored file"):
            await app.outbox.accept(draft(AttachmentRequest(blob=unused, filename="a.bin")))


async def test_emails_are_accepted_while_files_are_swept_away_and_none_loses_one(attaching: OpenOutspool) -> None:
    """A few files that are orphaned, grow old, and are wanted again at the moment when somebody removes them."""
    raws = [bytes([n]) * 100 for n in range(3)]
    digests = [digest_of(raw) for raw in raws]
    outcomes = set()
    async with attaching(worker=False) as app:
        sweeper = BlobCollector(app.blobs, app.ledger, clock=app.clock)
        for _ in range(10):
            sweeping = asyncio.create_task(sweeper.sweep())
            asked = [app.outbox.accept(draft(content(raw))) for raw in raws]
            for outcome in await asyncio.gather(*asked, return_exceptions=True):
                outcomes.add(type(outcome))
                if isinstance(outcome, Email):
                    [file] = outcome.content.attachments
                    assert await app.blobs.size(file.digest) == file.size
            await sweeping
            assert [await app.blobs.size(d) for d in digests if await is_used(app, d)] == [100] * await used(app)
            await orphan_all(app)
    assert Email in outcomes
    assert outcomes <= {Email, StoreUnavailable}


async def is_used(app: Outspool, digest: str) -> bool:
    statement = sa.select(sa.func.count()).where(attachments.c.digest == digest)
    return bool(await app.database.read(lambda connection: connection.scalar(statement)))


async def used(app: Outspool) -> int:
    statement = sa.select(sa.func.count(attachments.c.digest.distinct()))
    return await app.database.read(lambda connection: connection.scalar(statement)) or 0


async def orphan_all(app: Outspool) -> None:
    """Take every file off its email, a long time ago."""

    def change(connection: sa.Connection) -> None:
        connection.execute(attachments.delete())
        connection.execute(blobs.update().values(kept_until=app.clock.now() - timedelta(days=1)))

    await app.database.write(change)


class _Later(SystemClock):
    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return super().now() + self._by


@pytest.mark.parametrize("roots", ["/", "relative/folder", "/srv/../etc", "/srv/ok,/"])
def test_a_folder_that_is_everything_or_nowhere_is_none_to_send_from(
    outspool: OpenOutspool, sqlite_url: str, roots: str, tmp_path: Path
) -> None:
    with pytest.raises(MisconfiguredError, match="EMAIL_ATTACHMENT_ROOTS"):
        Outspool(Settings.load({"OUTSPOOL_DATA_DIR": tmp_path, "EMAIL_ATTACHMENT_ROOTS": roots}))


def test_half_a_pair_of_keys_is_refused_at_the_start(tmp_path: Path) -> None:
    for half in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        with pytest.raises(MisconfiguredError, match="only one is set") as said:
            Outspool(Settings.load({"OUTSPOOL_DATA_DIR": tmp_path, "AWS_BUCKET_NAME": "b", half: "hidden"}))
        assert "hidden" not in str(said.value)


_WORDS = st.text(max_size=12) | st.sampled_from(
    ["a.txt", "../x", "logo", "text/csv", "YQ==", "\r\nBcc: x@y.z", "\u202e"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(
        st.builds(
            AttachmentRequest,
            text=st.none() | _WORDS,
            content=st.none() | st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode()) | _WORDS,
            path=st.none() | st.none() | _WORDS,
            filename=st.none() | _WORDS | st.just("a.txt"),
            content_type=st.none() | st.none() | _WORDS,
            content_id=st.none() | st.none() | _WORDS,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_arrives_is_what_was_asked_for_every_input_that_is_taken(
    files: list[AttachmentRequest], tmp_path_factory: pytest.TempPathFactory, fuzzed: Any
) -> None:
    fuzzed(files)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what sends files through a whole outspool, and compares what an independent server received."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "smtp").mkdir()
    runner = asyncio.Runner()
    with SmtpSink(folder / "smtp") as sink, runner:
        app = Outspool(Settings.load(variables(folder, sink)))
        running = app.run(worker=True)
        runner.run(running.__aenter__())

        async def send(files: list[AttachmentRequest]) -> None:
            try:
                email = await app.outbox.wait_for_outcome(await app.outbox.accept(draft(*files)), max_wait=20)
            except Refusal as refusal:
                assert "\n" not in str(refusal)
                return
            assert email.status is S.SENT, email.problem
            mail = sink.messages()[-1]
            asked = email.content.attachments
            arrived = parts(mail.parsed)
            assert [(a.filename, a.content_type.partition(";")[0], a.digest) for a in asked] == [
                (name, kind, digest_of(raw)) for name, kind, raw in arrived
            ]
            assert mail.recipients == ("ann@example.com",)
            assert mail.parsed["Bcc"] is None

        yield lambda files: runner.run(send(files))
        runner.run(running.__aexit__(None, None, None))
