"""A TCP proxy in the test's own event loop that can be slow, mute, absent, or cut the line.

::

    async with TcpProxy(sink.port) as proxy:
        ...                       # connect to 127.0.0.1, proxy.port
        proxy.latency = 0.2       # seconds before every chunk, either way
        proxy.is_black_hole = True    # swallow everything, also in open connections
        proxy.cut_after(1000)     # once 1000 more bytes have come from clients, reset that connection
        proxy.die_after(b"COMMIT;")    # once a client has sent that, pass it on, and nobody answers any more
        proxy.reset_all()         # reset what is open
        await proxy.refuse()      # stop listening; open connections stay
        await proxy.listen()      # listen again, on the same port
"""

from __future__ import annotations

import asyncio
from typing import Self


class TcpProxy:
    """Forwards connections to `target_port` on loopback, with the faults set on it. See the module."""

    host = "127.0.0.1"

    def __init__(self, target_port: int) -> None:
        """Listen nowhere yet."""
        self.port = 0
        self.latency = 0.0
        self.is_black_hole = False
        self._target_port = target_port
        self._budget: int | None = None
        self._fatal: bytes | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def connections(self) -> int:
        """How many connections are open through it."""
        return len(self._writers) // 2

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.reset_all()
        while self._writers:
            await asyncio.sleep(0)

    async def listen(self) -> None:
        """Accept connections, and pass everything on: on a free port the first time, on the same ever after."""
        self.is_black_hole = False
        self._server = await asyncio.start_server(self._forward, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Stop accepting; whoever connects is refused."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def reset_all(self) -> None:
        """Reset every open connection, on both sides."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_after(self, count: int | None) -> None:
        """Pass on `count` more bytes from clients, then reset the connection that exceeds them; once. None: do not."""
        self._budget = count

    def die_after(self, words: bytes) -> None:
        """Pass on the next chunk from a client with these words, but no answer; reset that line, stop listening."""
        self._fatal = words

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            await asyncio.gather(self._pump(reader, far_writer, is_client=True), self._pump(far_reader, writer))
        except OSError:
            pass
        finally:
            self._writers -= pair
            for end in pair:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool = False
    ) -> None:
        while chunk := await reader.read(65536):
            await asyncio.sleep(self.latency)
            if self.is_black_hole:
                continue
            cut = False
            if is_client and self._budget is not None:
                cut = len(chunk) > self._budget
                chunk = chunk[: self._budget]
                self._budget = None if cut else self._budget - len(chunk)
            if is_client and self._fatal is not None and self._fatal in chunk:
                self._fatal = None
                self.is_black_hole = True  # no answer gets through any more
                await self.refuse()
                cut = True
            writer.write(chunk)
            await writer.drain()
            if cut:
                await asyncio.sleep(0.2)  # the far side must have it all before the line goes
                raise ConnectionResetError
        if not writer.is_closing():
            writer.write_eof()
