"""The SMTP server of a trial: like `support.smtp_sink`, but forked, so that it starts at once."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from support.smtp_sink import SmtpSink
from support.zygote import Child, Zygote

_TRIES = 20


class ForkedSink(SmtpSink):
    """An `SmtpSink` whose process comes from a zygote; use `live` and `die` instead of `start` and `kill`."""

    def __init__(self, folder: Path, zygote: Zygote, *, certificate: Path, security: str) -> None:
        """Keep everything in `folder`; with STARTTLS it wants the login `USERNAME`."""
        super().__init__(folder)
        self._zygote = zygote
        self._settings |= {"certificate": str(certificate), "security": security}
        if security != "none":
            self._settings |= {"username": USERNAME, "password": PASSWORD}
        self._child: Child | None = None

    async def live(self) -> None:
        """Listen: on a free port the first time, on the same ever after."""
        for _ in range(_TRIES):
            port = self.port or _free_port()
            self._child = await self._zygote.fork("smtp", self._settings | {"port": port}, log=self._log)
            if await self._child.says("ready"):
                self.port = port
                return
        raise AssertionError(f"the SMTP server does not start: {self._log.read_text()[-2000:]}")

    async def die(self) -> None:
        """End as in a power cut."""
        assert self._child is not None
        await self._child.kill()


def _free_port() -> int:
    """Return a free port outside the range of outgoing connections, so that it is still free after a death."""
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


USERNAME = "me@example.com"
PASSWORD = "secret"
