"""A mail server on loopback that delivers nowhere: every message it takes becomes an ``.eml`` file.

It lets one watch what a real server may say. By the recipient's local part it answers:

* ``busy…``: the first time ``451 4.3.2``, then it takes the message;
* ``nobody…``: always ``550 5.1.1``;
* anything else is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from outspool.adapters.files.private_files import create_file, create_folder

SANDBOX_HOST = "127.0.0.1"

_NOBODY = "550 5.1.1 There is nobody of this name in the sandbox"
_BUSY = "451 4.3.2 The sandbox is busy, try again"
_TAKEN = "250 2.0.0 The sandbox took it"


class Sandbox:
    """Handles the server's sessions (aiosmtpd calls the ``handle_`` methods)."""

    def __init__(self, folder: Path) -> None:
        """Write messages to `folder`, which is created with the first."""
        self._folder = folder
        self._turned_away: set[str] = set()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]) -> str:
        """Answer RCPT by the recipient's local part."""
        if address.startswith("nobody"):
            return _NOBODY
        if address.startswith("busy") and address not in self._turned_away:
            self._turned_away.add(address)
            return _BUSY
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Store one message."""
        await asyncio.to_thread(self._keep, envelope.content)
        return _TAKEN

    def _keep(self, message: bytes) -> None:
        create_folder(self._folder)
        unfinished = self._folder / f".{uuid4()}"
        with os.fdopen(create_file(unfinished), "wb") as file:
            file.write(message)
        unfinished.rename(self._folder / f"{unfinished.name.removeprefix('.')}.eml")


@asynccontextmanager
async def sandbox_server(folder: Path) -> AsyncIterator[int]:
    """Serve a `Sandbox` on a free loopback port; yield the port."""
    from aiosmtpd.smtp import SMTP

    handler = Sandbox(folder)

    def session() -> SMTP:
        return SMTP(handler, data_size_limit=200 * 1024 * 1024, hostname="sandbox.outspool.test", enable_SMTPUTF8=False)

    server = await asyncio.get_running_loop().create_server(session, SANDBOX_HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
