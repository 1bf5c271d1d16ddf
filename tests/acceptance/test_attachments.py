"""Attachments through an MCP client and the command line, with a real bucket and a real mail server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from mcp import Client
from mcp_types import TextResourceContents
from support.s3 import BUCKET, S3Server
from support.smtp_swallower import SmtpSwallower
from support.stage import OUTSPOOL, Session, Stage, serving

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
def variables(s3_server: S3Server, tmp_path: Path) -> dict[str, str]:
    """Return what an operator sets for files from one folder, kept in a bucket."""
    return {
        "EMAIL_ATTACHMENT_ROOTS": str(tmp_path),
        "AWS_BUCKET_NAME": BUCKET,
        "AWS_ACCESS_KEY_ID": s3_server.keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": s3_server.keys.secret_access_key,
        "AWS_ENDPOINT_URL": s3_server.url,
    }


def attach(stage: Stage, file: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return outspool(stage, folder, "attach", file, **more)


def outspool(stage: Stage, folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OUTSPOOL, *words],
        env={**stage.environment, **more},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_a_text_a_path_a_picture_and_a_stored_file_arrive_whole(
    stdio: Stage, variables: dict[str, str], tmp_path: Path, s3_server: S3Server
) -> None:
    report, stored = os.urandom(1_000_000), os.urandom(6_000_000)
    (tmp_path / "report.pdf").write_bytes(report)
    (tmp_path / "stored.bin").write_bytes(stored)
    printed = attach(stdio, "stored.bin", tmp_path, **variables)
    assert printed.returncode == 0, printed.stderr
    handle = printed.stdout.strip()
    assert re.fullmatch("blob:[0-9a-f]{64}", handle)
    assert hashlib.sha256(stored).hexdigest() not in handle
    async with stdio.session(**variables) as session:
        email = await session.call(
            "send_email",
            **stdio.message(
                html='<p>See <img src="cid:logo"></p>',
                attachments=[
                    {"filename": "a.csv", "text": "x,y\n1,2\n"},
                    {"path": str(tmp_path / "report.pdf")},
                    {"filename": "logo.png", "content": base64.b64encode(PNG).decode(), "content_id": "logo"},
                    {"filename": "stored.bin", "blob": handle, "content_type": "application/x-own"},
                ],
                wait=50,
            ),
        )
        assert email["status"] == "sent", email
        shown = await session.call("get_status", email_id=email["id"])
        [raw] = (await session.client.read_resource(f"email://{email['id']}/raw")).contents
    assert [(a["filename"], a["content_type"], a["size"]) for a in shown["attachments"]] == [
        ("a.csv", "text/csv; charset=utf-8", 8),
        ("report.pdf", "application/pdf", 1_000_000),
        ("logo.png", "image/png", len(PNG)),
        ("stored.bin", "application/x-own", 6_000_000),
    ]
    [mail] = stdio.received()
    assert isinstance(raw, TextResourceContents)
    assert raw.text.encode() == mail.raw
    arrived = {p.get_filename(): p.get_payload(decode=True) for p in mail.parsed.walk() if p.get_filename()}
    assert arrived == {"a.csv": b"x,y\n1,2\n", "report.pdf": report, "logo.png": PNG, "stored.bin": stored}
    inline = [p.get_filename() for p in mail.parsed.walk() if p.get_content_disposition() == "inline"]
    assert inline == ["logo.png"]
    in_bucket = {key.rpartition("/")[2] for key in s3_server.stored()}
    assert {hashlib.sha256(each).hexdigest() for each in arrived.values() if isinstance(each, bytes)} <= in_bucket


async def test_a_client_that_writes_its_list_as_json_is_understood(stdio: Stage) -> None:
    async with stdio.session() as session:
        files = json.dumps([{"filename": "a.txt", "text": "hello"}])
        assert (await session.call("send_email", **stdio.message(attachments=files)))["status"] == "sent"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([{"filename": "a", "data": "x"}], 'unknown argument "data". Did you mean "content"?'),
        ([{"name": "a", "text": "x"}], 'unknown argument "name". Did you mean "filename"?'),
        (["/etc/passwd"], "attachments[0] must be an object like"),
        ([{"filename": 1, "text": "x"}], 'attachments[0]["filename"] must be a string.'),
        ("a.txt", "attachments must be a list of objects."),
        ([{"path": "/etc/passwd"}], "sends no files by path"),
        ([{"filename": "a.txt"}], "attachments[0] has nothing to attach."),
    ],
)
async def test_what_is_no_attachment_is_refused_in_a_sentence(stdio: Stage, files: object, said: str) -> None:
    async with stdio.session() as session:
        refused = await session.refused("send_email", **stdio.message(attachments=files))
    assert said in refused
    assert refused.startswith(("invalid_argument: ", "attachment_refused: "))
    assert stdio.received() == []


def test_a_file_that_is_none_has_no_handle(stdio: Stage, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing.txt", "pipe", ".", "../missing"):
        printed = attach(stdio, name, tmp_path)
        assert printed.returncode == 1
        assert printed.stderr.startswith("error: attachment_refused: ")
        assert printed.stdout == ""


def test_send_attaches_files_by_the_names_they_are_given_by(stdio: Stage, tmp_path: Path) -> None:
    (tmp_path / "far.pdf").write_bytes(b"far")
    (tmp_path / "latest.pdf").symlink_to(tmp_path / "far.pdf")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    message = ["send", "--to", "ada@example.com", "--subject", stdio.topic, "--body", "Good day."]
    sent = outspool(stdio, tmp_path, *message, "--attach", "latest.pdf", "--attach", str(tmp_path / "a.csv"))
    assert sent.returncode == 0, sent.stderr
    (mail,) = stdio.received()
    parts = message_from_bytes(mail.raw, policy=policy.default).iter_attachments()
    assert {part.get_filename(): part.get_payload(decode=True) for part in parts} == {
        "latest.pdf": b"far",
        "a.csv": b"x,y\n1,2\n",
    }
    assert len(stdio.received()) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--attach", "missing.pdf"], "attachment_refused: There is no file "),
        (["--attach", "."], "attachment_refused: "),
        (["--cc", "nobody"], "invalid_address: "),
        (["--at", "yesterday"], "invalid_schedule: "),
    ],
)
def test_send_that_is_refused_stores_none_of_its_files(
    stdio: Stage, tmp_path: Path, more: list[str], said: str
) -> None:
    (tmp_path / "a.csv").write_text(stdio.topic)
    message = ["send", "--to", "ada@example.com", "--body", "Good day.", "--attach", "a.csv", *more]
    refused = outspool(stdio, tmp_path, *message, OUTSPOOL_DATA_DIR=str(tmp_path / "mine"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"error: {said}"), refused.stderr
    assert not [
        path for path in (tmp_path / "mine").rglob("*") if path.is_file() and stdio.topic in path.read_text("latin-1")
    ]


def test_the_operator_may_store_what_a_link_leads_to(stdio: Stage, tmp_path: Path) -> None:
    for folder in ("far", "near"):
        (tmp_path / folder).mkdir()
    (tmp_path / "far/report.pdf").write_bytes(b"far")
    (tmp_path / "near/latest.pdf").symlink_to(tmp_path / "far/report.pdf")
    printed = attach(stdio, "latest.pdf", tmp_path / "near")
    assert re.fullmatch("blob:[0-9a-f]{64}", printed.stdout.strip()), printed.stderr


def test_the_doctor_looks_into_the_bucket(stdio: Stage, variables: Mapping[str, str]) -> None:
    def line(**more: str) -> str:
        ran = subprocess.run(
            [*OUTSPOOL, "doctor"],
            env={**stdio.environment, **variables, **more},
            cwd=stdio.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return next(each for each in ran.stdout.splitlines() if " attachments " in each)

    assert line().startswith("ok ")
    assert BUCKET in line()
    wrong = line(AWS_SECRET_ACCESS_KEY="wrong-secret")
    assert wrong.startswith("FAIL")
    assert "AWS_SECRET_ACCESS_KEY" in wrong
    assert "wrong-secret" not in wrong


def peak(process: int) -> int:
    """Return the most memory, in bytes, that a process had since it started."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a process's memory")
@pytest.mark.parametrize("place", ["folder", "bucket"])
@pytest.mark.slow
async def test_twenty_emails_of_25_mb_at_once_cost_less_than_120_mb(
    place: str, variables: dict[str, str], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "small.bin").write_bytes(os.urandom(6 * 2**20))
    for n in range(20):
        with (files / f"{n}.bin").open("wb") as file:
            file.write(os.urandom(64))
            file.truncate(25 * 10**6)

    async def send(session: Session, name: str) -> str:
        message = {"to": ["a@example.com"], "subject": name, "body": "large", "attachments": [{"path": name}]}
        email = await session.call("send_email", **message)
        return str((await session.until(email["id"], "sent", "failed", "deferred", max_wait=90))["status"])

    with SmtpSwallower() as server:
        environment = {
            **(variables if place == "bucket" else {}),
            "PATH": os.environ["PATH"],
            "OUTSPOOL_DATA_DIR": str(tmp_path / "data"),
            "EMAIL_ATTACHMENT_ROOTS": str(files),
            "EMAIL_MAX_MESSAGE_MB": "40",
            "SMTP_HOST": server.host,
            "SMTP_PORT": str(server.port),
            "SMTP_SECURITY": "none",
            "EMAIL_FROM": "me@example.com",
            "SMTP_CONNECTIONS": "20",
        }
        with serving(environment, tmp_path) as (url, process):
            async with Client(f"{url}/mcp") as client:
                session = Session(client)
                assert await send(session, "small.bin") == "sent"
                before = peak(process)
                outcomes = await asyncio.gather(*(send(session, f"{n}.bin") for n in range(20)))
                grown = peak(process) - before
        assert outcomes == ["sent"] * 20
        assert len(set(server.digests)) == 21
    assert grown < 120 * 2**20
