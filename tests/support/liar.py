"""An HTTP server that returns whatever a test tells it to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Liar:
    """An HTTP server that answers without thought, or where it answers None stops reading."""

    def __init__(self, answer: Callable[[str], bytes | None]) -> None:
        """`answer` gives the octets to send for the head of a request."""
        self.answer = answer
        self.asked: list[str] = []
        self.url = ""
        self._serving: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Liar]:
        """Serve at `url` until the block ends, and note each request line in `asked`."""
        door = socket.create_server(("127.0.0.1", 0))
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not read shall not fit in here
        server = await asyncio.start_server(self._serve, sock=door)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            try:
                yield self
            finally:
                for task in self._serving:
                    task.cancel()
                await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.append(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head.partition("\r\n")[0])
            answer = self.answer(head)
            if answer is None:
                await writer.wait_closed()
            else:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


def reply(status: str, body: bytes = b"", **headers: object) -> bytes:
    """Return the octets of an HTTP response."""
    fields = {"Content-Length": len(body), "Connection": "close", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
