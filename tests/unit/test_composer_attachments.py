"""Attachments are sent whole, under their own names, where mail programs look for them, in little memory."""

from __future__ import annotations

import asyncio
import email
import json
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.blobs import chunked, digest_of, keep
from support.composing import ID, an_email, as_received, assert_wire_safe, compose_bytes, parsed, text_of

from outspool.adapters.blobs.local import LocalBlobs
from outspool.domain.attachment import Attachment, check_filename
from outspool.domain.email import Email
from outspool.errors import AttachmentLost, AttachmentRefused, InvalidArgument
from outspool.message.compose import compose
from outspool.message.transfer_encoding import base64_lines, base64_stream
from outspool.services.message_stream import stream_message

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def described(
    content: bytes, filename: str, content_type: str = "application/octet-stream", *, content_id: str | None = None
) -> Attachment:
    """Return the attachment that these bytes are."""
    return Attachment(
        filename=filename,
        content_type=content_type,
        content_id=content_id,
        size=len(content),
        digest=digest_of(content),
    )


async def chunks_of(asked: Email, blobs: LocalBlobs, *, into: list[bytes] | None = None) -> list[bytes]:
    """Return the message as it leaves; `into` has what left before a failure."""
    left = [] if into is None else into
    async with stream_message(compose(asked), blobs) as chunks:
        async for chunk in chunks:
            left.append(chunk)
    return left


async def sent(blobs: LocalBlobs, *files: tuple[Attachment, bytes], **content: object) -> EmailMessage:
    """Store the files, send an email with them, and return it as it is read."""
    for _, stored in files:
        await keep(blobs, stored)
    raw = b"".join(await chunks_of(an_email(attachments=tuple(a for a, _ in files), **content), blobs))
    assert_wire_safe(raw)
    return parsed(raw)


def tree(message: EmailMessage) -> object:
    """Return the types of a message and its parts."""
    kind = message.get_content_type()
    return [kind, *(tree(part) for part in message.iter_parts())] if message.is_multipart() else kind  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> LocalBlobs:
    return LocalBlobs(tmp_path_factory.mktemp("blobs"))


def is_safe(name: str) -> bool:
    try:
        return check_filename(name) == name
    except AttachmentRefused:
        return False


LETTER = st.sampled_from("aZ09 ._-'\"%;=*?()éßя日😀\u200d") | st.characters(codec="utf-8")
NAME = st.text(LETTER, min_size=1, max_size=90).filter(is_safe) | st.just("x" * 250 + ".txt")
ODD = [b"", PNG * 200, b"a\nb\r\nc\rd", b"\n.\n", f"--=_mixed_{ID.hex}\n".encode()]
FILE = st.tuples(
    NAME,
    st.sampled_from(["text/csv; charset=utf-8", "text/plain", "image/png", "application/vnd.a+json"]),
    st.none() | st.sampled_from(["logo", "a.b@c", "chart-1"]),
    st.binary(max_size=300) | st.sampled_from(ODD),
)
HTML = st.sampled_from([None, '<img src="cid:logo">'])


@given(st.lists(FILE, min_size=1, max_size=4), st.none() | st.just("Hi\n"), HTML)
@example([('a"b\\c.txt', "text/plain", None, b"x")], "Hi\n", None)
@example([("=?utf-8?q?a?=", "text/plain", None, b"x")], "Hi\n", None)
@settings(max_examples=60, deadline=None)
def test_a_file_arrives_with_its_bytes_its_name_and_its_type(
    blobs: LocalBlobs, files: list[tuple[str, str, str | None, bytes]], body: str | None, html: str | None
) -> None:
    attachments = [(described(raw, name, kind, content_id=cid), raw) for name, kind, cid, raw in files]
    asked = an_email(attachments=tuple(a for a, _ in attachments), body=body, html=html)
    message = asyncio.run(sent(blobs, *attachments, body=body, html=html))
    parts = [part for part in message.walk() if part.get_filename() is not None]
    arrived = {
        (p.get_filename(), p.get_content_type(), p["Content-ID"], p.get_payload(decode=True), p.get_content_charset())
        for p in parts
    }
    assert arrived == {
        (
            a.filename,
            a.content_type.partition(";")[0],
            None if a.content_id is None else f"<{a.content_id}>",
            raw,
            "utf-8" if "utf-8" in a.content_type else None,
        )
        for a, raw in attachments
    }
    assert len(parts) == len(files)
    assert text_of(message, "html" if html else "plain") == (html or body or "")
    raw = b"".join(asyncio.run(chunks_of(asked, blobs)))
    assert compose(asked).size == len(raw)
    assert all(not part.defects for part in message.walk())


async def test_pictures_shown_in_the_html_are_beside_it_and_files_are_apart(blobs: LocalBlobs) -> None:
    logo = described(PNG, "logo.png", "image/png", content_id="logo")
    report = described(b"%PDF", "report.pdf", "application/pdf")
    message = await sent(blobs, (logo, PNG), (report, b"%PDF"), body="Hi\n", html='<img src="cid:logo">\n')
    related = ["multipart/related", "text/html", "image/png"]
    assert tree(message) == ["multipart/mixed", ["multipart/alternative", "text/plain", related], "application/pdf"]
    by_type = {part.get_content_type(): part for part in message.walk()}
    assert by_type["multipart/related"].get_param("type") == "text/html"
    assert by_type["image/png"]["Content-ID"] == "<logo>"
    assert by_type["image/png"].get_content_disposition() == "inline"
    assert by_type["application/pdf"].get_content_disposition() == "attachment"


async def test_a_picture_that_the_html_does_not_show_is_a_file_like_any_other(blobs: LocalBlobs) -> None:
    """Programs hide what stands beside HTML and is not shown in it."""
    logo = described(PNG, "logo.png", "image/png", content_id="logo")
    message = await sent(blobs, (logo, PNG), body="Hi\n", html="<p>cid:logo2\n")
    assert tree(message) == ["multipart/mixed", ["multipart/alternative", "text/plain", "text/html"], "image/png"]


@pytest.mark.parametrize(
    "html", ['<img src="CID:a%40b">', "<div style='background: url(&quot;cid:a@b&quot;)'>", "<img src=cid:a&#64;b>"]
)
async def test_a_picture_is_found_however_the_html_writes_its_id(blobs: LocalBlobs, html: str) -> None:
    message = await sent(blobs, (described(PNG, "x.png", "image/png", content_id="a@b"), PNG), body=None, html=html)
    assert tree(message) == ["multipart/related", "text/html", "image/png"]


async def test_a_text_alone_stays_a_plain_text_beside_a_file(blobs: LocalBlobs) -> None:
    message = await sent(blobs, (described(b"a;b\n", "a.csv", "text/csv; charset=utf-8"), b"a;b\n"), body="Hi")
    assert tree(message) == ["multipart/mixed", "text/plain", "text/csv"]
    assert text_of(message, "plain") == "Hi"


@pytest.mark.parametrize(
    "filename",
    [
        "report.pdf",
        "my report.pdf",
        "Übersicht.pdf",
        "日本語の報告書.pdf",
        "é" * 120 + ".pdf",
        "x" * 251 + ".pdf",
        "50%.pdf",
        "it's.pdf",
        'a"b.pdf',
        "a;b.pdf",
        "a=b*.pdf",
        "utf-8''x.pdf",
        "😀.pdf",
        "..pdf",
    ],
)
def test_old_and_new_programs_read_the_same_file_name(filename: str) -> None:
    """One name, written once: two could differ, and a scanner would look at another one than the person sees."""
    message = compose(an_email(attachments=(described(b"x", filename, "application/pdf"),)))
    raw = b"".join(piece for piece in message.pieces if isinstance(piece, bytes))
    old = list(email.message_from_bytes(as_received(raw)).walk())[-1]
    new = list(parsed(as_received(raw)).walk())[-1]
    assert (old.get_filename(), new.get_filename()) == (filename, filename)
    assert new.get_param("name") is None
    assert raw.count(b"filename=") + raw.count(b"filename*=") + raw.count(b"filename*0*=") == 1
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@pytest.mark.parametrize("unsafe", ["\r\nBcc: evil@example.net", "\n", "\0", "\x7f", "\x85", "\u2028", "\ud83d"])
def test_a_file_name_that_could_end_a_header_is_refused(unsafe: str) -> None:
    with pytest.raises(InvalidArgument):
        compose(an_email(attachments=(described(b"x", f"a{unsafe}b"),)))


@pytest.mark.parametrize("content_type", ["a/b\r\nBcc: evil@example.net", "a/b\nX: y", "a/\u00e9", "a/b\0", "a/\ud83d"])
def test_a_type_that_could_end_a_header_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidArgument):
        compose(an_email(attachments=(described(b"x", "a", content_type),)))


def test_a_message_with_files_is_measured_but_not_composed_without_them() -> None:
    asked = an_email(attachments=(described(bytes(25_000_000), "a.bin"),))
    assert 34_000_000 < compose(asked).size < 34_300_000
    with pytest.raises(ValueError, match="has to be streamed"):
        compose_bytes(asked)


async def test_a_message_without_files_needs_no_place_for_them(tmp_path: Path) -> None:
    asked = an_email(body="é" * 500, html="<p>x")
    assert b"".join(await chunks_of(asked, LocalBlobs(tmp_path / "none"))) == compose_bytes(asked)
    assert compose(asked).size == len(compose_bytes(asked))


async def test_a_file_that_is_gone_is_noticed_before_the_first_octet_leaves(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path)
    first, lost = described(b"here", "a"), described(b"gone", "b")
    await keep(blobs, b"here")
    left: list[bytes] = []
    with pytest.raises(AttachmentLost):
        await chunks_of(an_email(attachments=(first, lost)), blobs, into=left)
    assert left == []


async def test_a_damaged_file_breaks_the_message_off_before_its_end(tmp_path: Path) -> None:
    blobs, content = LocalBlobs(tmp_path), bytes(1_000_000)
    await keep(blobs, content)
    digest = digest_of(content)
    (tmp_path / digest[:2] / digest[2:4] / digest).write_bytes(content[:-1] + b"\1")
    left: list[bytes] = []
    with pytest.raises(AttachmentLost):
        await chunks_of(an_email(attachments=(described(content, "a"),)), blobs, into=left)
    assert len(left) > 1
    assert b"--\r\n" not in left[-1]


async def test_every_chunk_is_whole_lines(blobs: LocalBlobs) -> None:
    """Leading dots can then be doubled chunk by chunk (RFC 5321 §4.5.2)."""
    content = PNG * 3000
    await keep(blobs, content)
    asked = an_email(body=".", html=".<img src='cid:x'>", attachments=(described(content, "a", content_id="x"),) * 2)
    chunks = await chunks_of(asked, blobs)
    assert len(chunks) > 6
    assert all(chunk.endswith(b"\r\n") for chunk in chunks)


@given(st.binary(max_size=500), st.integers(1, 130))
def test_base64_of_a_stream_does_not_depend_on_how_it_is_cut(content: bytes, size: int) -> None:
    async def encoded() -> list[bytes]:
        return [lines async for lines in base64_stream(chunked(content, size=size))]

    assert b"".join(asyncio.run(encoded())) == base64_lines(content)


_TWENTY_AT_ONCE = """
import asyncio, json, resource, sys
from pathlib import Path
from outspool.adapters.blobs.local import LocalBlobs
from support.blobs import digest_of, keep
from support.composing import an_email
from outspool.domain.attachment import Attachment
from outspool.services.message_stream import compose_in_thread, stream_message

async def leave(blobs, asked):
    size = 0
    message = await compose_in_thread(asked)
    async with stream_message(message, blobs) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            await asyncio.sleep(0)
    assert size == message.size
    return size

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

async def main():
    blobs = LocalBlobs(Path(sys.argv[1]))
    size, digest = 25_000_000, sys.argv[2]
    file = Attachment(filename="a.bin", content_type="image/png", content_id=None, size=size, digest=digest)
    await leave(blobs, an_email(attachments=(file,)))
    before = peak()
    sizes = await asyncio.gather(*(leave(blobs, an_email(attachments=(file,))) for _ in range(20)))
    print(json.dumps({"sent": sum(sizes), "growth": peak() - before}))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="how much memory a process took at most is not told there")
async def test_twenty_messages_of_25_mb_at_once_take_little_memory(tmp_path: Path) -> None:
    digest = await keep(LocalBlobs(tmp_path), bytes(25_000_000))
    folder = str(Path(__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {folder!r})\n{_TWENTY_AT_ONCE}"
    command = [sys.executable, "-c", program, str(tmp_path), digest]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    assert told["sent"] > 20 * 34_000_000
    assert told["growth"] < 60_000_000
