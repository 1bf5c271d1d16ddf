"""Sends a message that is too large to hold, as fast as the server takes it, all but its final dot.

A message is nobody's until its final dot (RFC 5321 §4.1.1.4). As long as that is held back the server cannot have taken
it, whatever becomes of the line: there is no doubt then, as there is with a message given to the network in one piece.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiosmtplib.protocol import SMTPProtocol

    from outspool.ports.transport import Stream

_SLOWEST = 16 * 1024
"""Bytes per second that a server is given time for."""


class Stuffing:
    """Dot-stuffing (RFC 5321 §4.5.2) over chunks that may be cut anywhere but within a line end."""

    def __init__(self) -> None:
        """Stand at the beginning of a line."""
        self._at_line_start = True

    def stuff(self, chunk: bytes) -> bytes:
        """Return the next chunk; raise `ValueError` for a bare CR or LF, in which some servers see a line's end."""
        if not chunk.count(b"\r\n") == chunk.count(b"\r") == chunk.count(b"\n"):
            raise ValueError("A message must have CRLF line ends alone.")
        if not chunk:
            return chunk
        dot = b"." if self._at_line_start and chunk.startswith(b".") else b""
        self._at_line_start = chunk.endswith(b"\n")
        return dot + chunk.replace(b"\n.", b"\n..")

    @property
    def end(self) -> bytes:
        """What ends the message: the final dot, on a line of its own."""
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"


async def send_stream(
    protocol: SMTPProtocol, stream: Stream, reply: asyncio.Future[Any], *, patience: float
) -> bytes | None:
    """Write all chunks of `stream`, and return what is left to be written: the final dot.

    None when `reply` came first, for a server that speaks before the end listens no more. Raises `OSError` or an
    exception of aiosmtplib when the line is lost, or stands still for `patience` seconds; and what the chunks raise.
    """
    stuffing = Stuffing()
    async for chunk in stream.chunks:
        stuffed = stuffing.stuff(chunk)
        protocol.write(stuffed)
        # It is what asyncio's own writers wait for; aiosmtplib has it, and no name for it.
        drained = asyncio.ensure_future(protocol._drain_helper())  # noqa: SLF001
        try:
            seconds = patience + len(stuffed) / _SLOWEST
            await asyncio.wait({drained, reply}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if reply.done():
                return None
            if not drained.done():
                raise TimeoutError
            drained.result()
        finally:
            drained.cancel()
    return stuffing.end
