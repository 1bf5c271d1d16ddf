"""The demo: it runs, and it fails when it should."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.stage import OUTSPOOL

from outspool.cli import demo

_PATIENCE = 60.0


@pytest.mark.long
def test_the_demo_shows_every_outcome_with_its_smtp_reply_and_leaves_the_files(tmp_path: Path) -> None:
    # Nothing that is set for real may reach the demo: it would send for real, or into somebody's database.
    (tmp_path / ".env").write_text("SMTP_HOST=smtp.example.com\nEMAIL_ALLOWED_RECIPIENTS=nobody@example.com\n")
    environment = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(tmp_path),
        "CI": "true",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "EMAIL_DENIED_RECIPIENTS": "@example.com",
    }
    done = subprocess.run(
        [*OUTSPOOL, "demo"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("send_email", "retry_email", "250 2.0.0", "451 4.3.2", "550 5.1.1", "partial", "deferred"):
        assert part in done.stdout
    assert re.search(r"due \d\d:\d\d:\d\d\.\d{3}, left \d+ ms after that", done.stdout)
    assert "\x1b" not in done.stdout
    [sandbox] = tmp_path.glob("outspool-demo-*/sandbox")
    assert str(sandbox) in done.stdout
    assert len(list(sandbox.glob("*.eml"))) == 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what the demo leaves be removed with the test's own files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.usefixtures("folder")
async def test_a_demo_that_comes_out_otherwise_fails_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    act = demo.Act(
        "an email to nobody",
        "send_email",
        {"to": ["nobody@example.com"], "subject": "To nobody", "body": "x"},
        ends="sent",
        reply="250",
    )
    monkeypatch.setattr(demo, "_ACTS", (act,))
    monkeypatch.setattr(demo, "_PATIENCE", 0.0)
    with pytest.raises(demo.DemoFailedError, match=r'"To nobody" is failed, and was to be sent\. The server\'s log is'):
        await demo.run_demo()


@pytest.mark.usefixtures("folder")
async def test_a_demo_whose_tool_refuses_fails_with_the_tools_words(monkeypatch: pytest.MonkeyPatch) -> None:
    act = demo.Act("an email to no address", "send_email", {"to": ["x"], "subject": "s", "body": "b"}, "sent", "250")
    monkeypatch.setattr(demo, "_ACTS", (act,))
    with pytest.raises(demo.DemoFailedError, match="send_email was refused: invalid_address"):
        await demo.run_demo()
