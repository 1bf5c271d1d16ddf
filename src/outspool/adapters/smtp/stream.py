"""Streams a message that is too large for memory, all but its final dot.

The server accepts a message at its final dot and not before (RFC 5321 §4.1.1.4). While the dot is held back, the server
cannot have accepted the message, whatever happens to the connection. So a failure here leaves no doubt, unlike one of a
message handed to the network in one piece.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aiosmtplib.protocol import SMTPProtocol

    from outspool.ports.transport import Stream

_SLOWEST_RATE = 16 * 1024
"""Slowest rate in bytes per second that a server is given time for."""


class Stuffing:
    """Dot-stuffing (RFC 5321 §4.5.2) of chunks that are cut anywhere except inside a CRLF."""

    def __init__(self) -> None:
        """Start at the beginning of a line."""
        self._at_line_start = True

    def stuff(self, chunk: bytes) -> bytes:
        """Return the stuffed chunk; `ValueError` for a bare CR or LF, which some servers take for a line end."""
        if not chunk.count(b"\r\n") == chunk.count(b"\r") == chunk.count(b"\n"):
            raise ValueError("A message must have CRLF line ends alone.")
        if not chunk:
            return chunk
        dot = b"." if self._at_line_start and chunk.startswith(b".") else b""
        self._at_line_start = chunk.endswith(b"\n")
        return dot + chunk.replace(b"\n.", b"\n..")

    @property
    def end(self) -> bytes:
        """Return the final dot, on a line of its own."""
        return b".\r\n" if self._at_line_start else b"\r\n.\r\n"


async def send_stream(
    protocol: SMTPProtocol, stream: Stream, reply: asyncio.Future[Any], *, patience: float
) -> bytes | None:
    """Write all chunks of `stream`; return the final dot, still to be written.

    Returns None if `reply` came first: a server that replies early no longer reads. Raises `OSError` or an aiosmtplib
    exception if the connection is lost or stalls for `patience` seconds, and whatever the chunks raise.
    """
    stuffing = Stuffing()
    async for chunk in stream.chunks:
        stuffed = stuffing.stuff(chunk)
        protocol.write(stuffed)
        # asyncio's writers wait for the same; aiosmtplib's protocol has no public name for it.
        drained = asyncio.ensure_future(protocol._drain_helper())  # noqa: SLF001
        try:
            seconds = patience + len(stuffed) / _SLOWEST_RATE
            await asyncio.wait({drained, reply}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if reply.done():
                return None
            if not drained.done():
                raise TimeoutError
            drained.result()
        finally:
            drained.cancel()
    return stuffing.end
