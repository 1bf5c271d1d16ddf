"""Hostile attachments: no forbidden file is sent, and none looks different on the wire."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from support.front import Accepted, Front, front
from support.smtp_sink import Received

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECRET = b"the secret that nobody may send"
DIGITS = "a" * 64


def one(**file: Any) -> dict[str, Any]:
    """Return the arguments of an email with this file."""
    return {"attachments": [file]}


def named(name: str) -> dict[str, Any]:
    """Return the arguments of an email with a file of this name."""
    return one(filename=name, text="x")


def parts(mail: Received) -> list[tuple[str | None, str, object]]:
    """Return name, type and bytes of each file, as a mail program finds them."""
    walked = [part for part in mail.parsed.walk() if part.get_filename() is not None]
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in walked]


@pytest.fixture
def traps(files: Path) -> Iterator[Path]:
    """Return the folder that files may be sent from, full of what may not; the secret lies beside it."""
    outside = files.parent / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_bytes(SECRET)
    (files / "good.txt").write_bytes(b"good")
    (files / ".env").write_bytes(SECRET)
    (files / "folder").mkdir()
    (files / "link.txt").symlink_to(outside / "secret.txt")
    (files / "chain.txt").symlink_to(files / "link.txt")
    (files / "out").symlink_to(outside)
    (files / "loop").symlink_to(files / "loop")
    (files / "proc").symlink_to("/proc/self")
    (files / "zero").symlink_to("/dev/zero")
    os.mkfifo(files / "pipe")
    with (files / "huge.bin").open("wb") as huge:
        huge.truncate(10**12)
    yield files
    for path in [*files.iterdir(), *outside.iterdir()]:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    outside.rmdir()


async def test_no_path_leads_to_a_file_that_may_not_be_sent(face: Front, traps: Path) -> None:
    outside = traps.parent / "outside" / "secret.txt"
    refused = {
        "not in a folder": [
            *("/etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "/dev/zero", "/dev/stdin", "/dev/fd/0"),
            *("link.txt", "chain.txt", "out/secret.txt", "proc/environ", "zero", str(outside), f"{traps}x/a"),
            *("/", "//etc/passwd", "/./etc/passwd", str(traps.parent / "outspool.db"), f"{traps}/link.txt"),
        ],
        "two dots": ["../outside/secret.txt", "folder/../../outside/secret.txt", f"{traps}/../outside/secret.txt"],
        "with ~": ["~/.ssh/id_rsa", "~root/.bashrc", "~"],
        "is a URL": ["file:///etc/passwd", "FILE:/etc/passwd", "http://example.com/a", "data:/text", "s3://bucket/key"],
        "not a regular file": ["pipe", "folder", f"{traps}/pipe"],
        "hidden file": [".env", f"{traps}/.env", "./.env"],
        "is no path": ["a\0b", "good.txt\0.png", "a\nb", "\ud800"],
        "no file": ["missing.txt", "%2e%2e/outside/secret.txt", "good.txt ", "..\u2215outside", "folder/good.txt"],
        "characters long": ["a" * 5000],
        "attachment_refused": ["loop", "good.txt/", "good.txt/x", "a" * 4000, "a/" * 2000],
        "too_large": ["huge.bin"],
    }
    async with asyncio.timeout(30):
        await face.refuses(*((one(path=path), words) for words, paths in refused.items() for path in paths))
    [mail] = await face.delivered(one(path=str(traps / "good.txt")))
    assert parts(mail) == [("good.txt", "text/plain", b"good")]


async def test_what_is_no_file_is_refused(face: Front) -> None:
    malformed = {
        "not base64": [
            *(
                "YR",
                "hello world",
                "Y===",
                "YQ=",
                "Y Q=",
                "YQ==YQ==",
                "=",
                "data:text/plain;base64,Y",
                "-_==",
                "YQ==\0",
                "YQ==\ud800",
            ),
            *("ÿ", "YQ==\ud800", "YQ=\n=x", "Y\tQ==", "%59%51==", "YQ==\n.\n"),
        ]
    }
    await face.refuses(
        *((one(filename="a", content=bad), words) for words, many in malformed.items() for bad in many),
        *(
            (one(filename="a", blob=bad), "no handle")
            for bad in (
                *("blob:", DIGITS, f"blob:{DIGITS.upper()}", f"blob:{DIGITS}\n", f"blob:{DIGITS[1:]}"),
                *("blob:../../etc/passwd", f"blob:{DIGITS}/../x", "blob:" + "\uff0f" * 64, f"s3://bucket/{DIGITS}"),
            )
        ),
        (one(filename="a", blob=f"blob:{DIGITS}"), "no stored file"),
        (one(filename="a"), "nothing to attach"),
        (one(filename="a", text="x", content="YQ=="), "`text` and `content`"),
        (one(filename="a", text="x", path="good.txt", blob="blob:x"), "`text` and `path` and `blob`"),
        (one(text="x"), "no filename"),
        (one(filename="a", text="\ud800"), "half a character"),
        (one(filename="a", url="http://example.com/a"), "unknown argument"),
        (one(filename="a", text=7), "must be a string"),
        ({"attachments": ["/etc/passwd"]}, "must be an object"),
        ({"attachments": "/etc/passwd"}, "must be a list"),
        ({"attachments": [[]]}, "must be an object"),
        ({"attachments": [{"filename": "a", "text": "x"}] * 51}, "50 is the most"),
        ({"attachments": [{"filename": "a", "text": "x", "content_id": i} for i in ("x", "<x>")]}, "content_id"),
    )


async def test_a_name_that_could_mean_something_else_is_refused(face: Front) -> None:
    refused = {
        "does not show": [
            *("a\rb.txt", "a\nb.txt", "a\0.txt", "a\tb", "\x7f", "a\x85b", "gpj\u202eexe.txt", "\u2066a", "a\u200bb"),
            *("a\u2028b", "a\ud800", "a\ufeffb", "a\r\nContent-Type: text/html\r\n\r\n<script>.txt", "\u00adx"),
        ],
        "is a path": [
            *(
                "../a",
                "/etc/passwd",
                "a/b",
                "a\\b",
                "C:\\a",
                "..\\..\\a",
                "\uff0fetc",
                "a\uff3cb",
                "\u2100",
                "./a",
                "a/",
            ),
        ],
        "no name of a file": [".", "..", "...", " ", "a.", "a ", " a", "\u3000", "a\u3000"],
        "something else": [
            "CON",
            "nul.txt",
            "com1.log",
            "lpt\u00b9",
            "=?utf-8?q?x=0D=0A?=.txt",
            "a=?us-ascii?b?AA==?=",
        ],
        "characters long": ["a" * 5000],
    }
    await face.refuses(*((named(name), words) for words, names in refused.items() for name in names))


async def test_a_type_or_an_id_that_no_file_has_is_refused(face: Front) -> None:
    types = {
        "media type": [
            *(
                "a",
                "text/",
                "/plain",
                "text/plain\r\nX: y",
                "text/plain; name=x",
                "text/plain; charset=a; charset=b",
            ),
            *(
                "text/plain\n",
                "text/plain, text/html",
                'text/plain; charset="a\\"b"',
                "tëxt/plain",
                "text plain",
                "a/b/c",
            ),
            *(
                "a/b/c",
                f"text/{'x' * 200}",
                "text/plain;charset=",
                "text/plain; boundary=x",
                "\ud800/x",
                "text/plain\0",
            ),
        ],
        "cannot be an attachment": ["multipart/mixed", "message/rfc822", "MESSAGE/partial", "message/external-body"],
    }
    ids = ["a b", "a>\r\nBcc: eve@example.com", "\0", "x" * 300, "<>", "cid:", "é", "a\ud800", "%0d%0a", 'a"b']
    await face.refuses(
        *((one(filename="a", text="x", content_type=bad), words) for words, many in types.items() for bad in many),
        *((one(filename="a", text="x", content_id=bad), "content id") for bad in ids),
    )


NAMES = {
    "übergröße.txt": "übergröße.txt",
    "日本語の長い名前" * 20 + ".pdf": None,
    "x" * 300 + ".tar.gz": None,
    "👩‍👩‍👧" * 60 + ".png": None,
    "a" * 4000: None,
    "e\u0301.txt": "e\u0301.txt",
    'say "hi" \\o'.replace("\\", "") + ".txt": 'say "hi" o.txt',
    "semi;colon=1; filename=evil.exe": "semi;colon=1; filename=evil.exe",
    "per%20cent%0d%0a.txt": "per%20cent%0d%0a.txt",
    "utf-8''a.txt": "utf-8''a.txt",
    "a*0*=b.txt": "a*0*=b.txt",
    "'quoted'.txt": "'quoted'.txt",
    "$(rm -rf).txt": "$(rm -rf).txt",
    "-rf": "-rf",
    "~root": "~root",
    ".hidden": ".hidden",
    "report.pdf.exe": "report.pdf.exe",
    "a  b.txt": "a  b.txt",
    "<script>.html": "<script>.html",
    "x" * 60 + ".txt": "x" * 60 + ".txt",
    "x" * 61 + ".txt": "x" * 61 + ".txt",
    "\u0645\u0644\u0641.txt": "\u0645\u0644\u0641.txt",
}
"""What is taken, and the name that arrives; None for one that is too long and is shortened."""


async def test_a_name_arrives_as_it_was_asked_or_shortened(face: Front) -> None:
    mails = await face.delivered(*(named(name) for name in NAMES))
    for (asked, expected), mail in zip(NAMES.items(), mails, strict=True):
        [(name, _, content)] = parts(mail)
        assert content == b"x"
        assert name is not None
        if expected is not None:
            assert name == expected
        else:
            assert len(name.encode()) <= 255
            stem, dot, extension = asked.rpartition(".")
            assert name.endswith(f"{dot}{extension}") if dot else asked.startswith(name)
            assert asked.startswith(name.removesuffix(f"{dot}{extension}") if dot else name)
            assert len(stem) >= 0


CONTENTS: list[bytes] = [
    b"",
    b"\0",
    b".",
    b"\r\n.\r\n",
    b"\r\n.\r\nMAIL FROM:<eve@example.com>\r\n",
    b"a\rb\nc\r\nd",
    bytes(range(256)),
    b"\xff\xfe\x00",
    b"--=_mixed_\r\n--=_mixed_--\r\n",
    b"x" * 57,
    b"x" * 58,
    os.urandom(100_000),
]


async def test_every_byte_of_a_file_arrives(face: Front) -> None:
    coded = [base64.b64encode(raw).decode() for raw in CONTENTS]
    lines = ["\r\n".join([text[:60], text[60:]]) for text in coded]
    mails = await face.delivered(
        *(one(filename="a.bin", content=text) for text in coded),
        *(one(filename="a.bin", content=text) for text in lines),
        {"attachments": [{"filename": "a.bin", "content": text} for text in coded]},
    )
    for raw, mail in zip(CONTENTS * 2, mails, strict=False):
        assert parts(mail) == [("a.bin", "application/octet-stream", raw)]
    assert [content for _, _, content in parts(mails[-1])] == CONTENTS


TEXTS = [
    "",
    "a\rb\nc\r\nd",
    "\ufeffa,b\n",
    "\0\x1b\x7f",
    "\u202e\u2028",
    "é" * 1000,
    ".\n..\n",
    "From \n",
    "no end",
    "日本\n",
]


async def test_a_text_file_keeps_its_line_ends_and_says_its_charset(face: Front) -> None:
    mails = await face.delivered(
        *(one(filename="a.csv", text=text, content_type="text/csv; charset=utf-16") for text in TEXTS)
    )
    for text, mail in zip(TEXTS, mails, strict=True):
        assert parts(mail) == [("a.csv", "text/csv", text.encode())]
        [file] = [part for part in mail.parsed.walk() if part.get_filename()]
        assert file.get_content_charset() == "utf-8"


async def test_a_bomb_is_carried_as_it_is_and_never_opened(face: Front) -> None:
    zipped = BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/passwd", bytes(100_000_000))
    bombs = [zlib.compress(bytes(100_000_000), 9), zipped.getvalue(), b"<!ENTITY a '&b;&b;'>" * 1000]
    mails = await face.delivered(*(one(filename="b.gz", content=base64.b64encode(raw).decode()) for raw in bombs))
    assert [parts(mail)[0][2] for mail in mails] == bombs


async def test_files_too_large_together_are_refused_before_they_are_stored(face: Front) -> None:
    size = face.app.rules.policy.max_message_bytes

    def coded(length: int) -> str:
        return base64.b64encode(os.urandom(length)).decode()

    await face.refuses(
        (one(filename="a", content="A" * (4 * size)), "too_large: "),
        (one(filename="a", content=coded(size * 3 // 4)), "too_large: "),
        (one(filename="a", text="é" * (size // 2)), "too_large: "),
        ({"attachments": [{"filename": "a", "content": coded(size // 5)} for _ in range(4)]}, "too_large: "),
        (one(filename="a", content=coded(size // 2)) | {"body": "x" * (size // 2)}, "too_large: "),
    )


async def test_a_file_swapped_for_a_link_again_and_again_never_leaks_what_lies_outside(
    face: Front, traps: Path
) -> None:
    """Two threads put a link to the secret, a folder that is a link, and the good file in each other's place."""
    stop = threading.Event()
    target, inner = traps / "swapped.txt", traps / "swapped"
    (traps / "real").mkdir()
    (traps / "real" / "secret.txt").write_bytes(b"good")
    target.write_bytes(b"good")
    inner.symlink_to(traps / "real")
    places = [(target, [traps / "good.txt", traps / "link.txt"]), (inner, [traps / "real", traps.parent / "outside"])]

    def swap() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            for place, turns in places:
                draft = place.with_name(f"{place.name}.new")
                with contextlib.suppress(FileNotFoundError):
                    draft.unlink()
                if place is target and n % 2:
                    draft.write_bytes(b"good")
                else:
                    draft.symlink_to(turns[n % 2])
                draft.replace(place)
            time.sleep(0.0005)  # let the others have the interpreter, too

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        asked = [one(path=path) for path in ("swapped.txt", "swapped/secret.txt") for _ in range(20)]
        answers = [await face.attempt(**arguments) for arguments in asked]
    finally:
        stop.set()
        thread.join()
        inner.unlink(missing_ok=True)
        for left in (traps / "real").iterdir():
            left.unlink()
    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    mails = await face.arrivals(accepted)
    assert all(content == b"good" for mail in mails for _, _, content in parts(mail))
    assert all(base64.b64encode(SECRET[:30]) not in mail.raw for mail in mails)
    stored = {path.name for path in face.app.settings.blobs_dir.glob("**/*")}
    assert hashlib.sha256(SECRET).hexdigest() not in stored


async def test_without_folders_no_path_is_taken_at_all(face: Front, traps: Path, tmp_path: Path) -> None:
    async with front(tmp_path, face.sink, face.app.settings.store_url, worker=False) as closed:
        paths = [str(traps / "good.txt"), "good.txt", "/etc/passwd", "/proc/self/environ", "missing"]
        await closed.refuses(*((one(path=path), "sends no files by path") for path in paths))
