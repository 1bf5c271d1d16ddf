"""Dispatcher processes that tests kill, suspend and race."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self


class Worker:
    """An ``outspool worker``; its log is kept in `folder`."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        """Start it."""
        with (folder / "worker.log").open("a") as log:
            command = [sys.executable, "-m", "outspool", "worker"]
            self._child = subprocess.Popen(command, env=dict(variables), cwd=folder, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        """Return the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it for good."""
        self.signal(signal.SIGCONT)
        self.terminate()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        if self._child.poll() is None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._child.kill()
        self._child.wait(10)

    def terminate(self) -> int:
        """Ask it to stop, and return its exit status."""
        self.signal(signal.SIGTERM)
        return self._child.wait(30)
