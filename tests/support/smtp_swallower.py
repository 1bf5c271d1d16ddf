"""An SMTP server for large messages: it keeps none, and remembers only the digest of each."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import Self

_BLOCK = 2**20
_END = b"\r\n.\r\n"


class SmtpSwallower:
    """Listens on loopback in a thread of its own. `digests` has the SHA-256 of each message, dots still stuffed."""

    host = "127.0.0.1"

    def __init__(self) -> None:
        """Listen nowhere yet."""
        self.port = 0
        self.digests: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._lines: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, self.host, 0, limit=_BLOCK), self._loop
        ).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        for line in self._lines:
            line.transport.abort()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._lines.add(writer)
        try:
            writer.write(b"220 swallower\r\n")
            while line := await reader.readline():
                writer.write(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 fine\r\n")
                if line == b"DATA\r\n":
                    self.digests.append(await self._swallow(reader))
                    writer.write(b"250 swallowed\r\n")
        except OSError:
            pass
        finally:
            self._lines.discard(writer)
            writer.close()

    async def _swallow(self, reader: asyncio.StreamReader) -> str:
        """Read up to the final dot. Nobody sends anything after that before it was answered."""
        found, held = hashlib.sha256(), b""
        while not held.endswith(_END):
            block = await reader.read(_BLOCK)
            if not block:
                raise ConnectionResetError
            held += block
            found.update(held[: -len(_END)])
            held = held[-len(_END) :]
        return found.hexdigest()
