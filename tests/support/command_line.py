"""The command line, as a script runs it and as a person sees it in a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from typing import Any

import pytest

from outspool.cli import main
from support.stage import OUTSPOOL, Stage

PATIENCE = 30.0
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


def outspool(stage: Stage, *words: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*OUTSPOOL, *words],
        env={**stage.environment, **variables},
        cwd=stage.folder,
        input=given,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
    )


@dataclass(frozen=True)
class Inside:
    """Runs a command to its end in this process, which is many times quicker than starting one."""

    stage: Stage
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it as ``outspool`` does."""
        self.monkeypatch.chdir(self.stage.folder)
        self.monkeypatch.setattr("sys.argv", ["outspool", *words])
        for name, value in self.stage.environment.items():
            self.monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as end:
            main()
        out, err = self.capsys.readouterr()
        return subprocess.CompletedProcess(words, int(end.value.code or 0), out, err)

    def until(self, email_id: str, *statuses: str) -> dict[str, Any]:
        """Return the email as soon as it has one of `statuses`."""
        deadline = time.monotonic() + PATIENCE
        while (email := result(self("show", email_id, "--json")))["status"] not in statuses:
            assert time.monotonic() < deadline, email["summary"]
        return email


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what a command printed as JSON."""
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def on_terminal(
    stage: Stage, *words: str, width: int = 80, typed: tuple[tuple[str, str], ...] = (), **variables: str
) -> tuple[int, str]:
    """Run one command in a terminal of this `width`; return its exit code and what the terminal shows.

    `typed` holds pairs of a text to wait for and the keys to press then.
    """
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    with subprocess.Popen(
        [*OUTSPOOL, *words],
        env={**stage.environment, "TERM": "xterm-256color", **variables},
        cwd=stage.folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = _talk(leader, list(typed))
        code = process.wait(PATIENCE)
    os.close(leader)
    return code, _ESCAPE.sub("", shown).replace("\r\n", "\n")


def _talk(leader: int, typed: list[tuple[str, str]]) -> str:
    """Read until the program ends, and press keys as soon as it asks."""
    shown, seen = "", 0
    while chunk := _read(leader):
        shown += chunk
        if typed and (place := shown.find(typed[0][0], seen)) >= 0:
            seen = place + len(typed[0][0])
            os.write(leader, typed.pop(0)[1].encode())
    assert not typed, f"it never asked {typed[0][0]!r}: {shown}"
    return shown


def _read(leader: int) -> str:
    try:
        return os.read(leader, 65536).decode("utf-8", "replace")
    except OSError:  # Linux says so when the last process has left the terminal
        return ""
