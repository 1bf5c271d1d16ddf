"""An SMTP server that takes everything, forgets the message and remembers when it came.

It does as little as a server can, so that what is measured is the sender. Commands of its parent come on stdin, one a
line; each answer is one line of JSON on stdout:

=========  =======================================================================================
``clear``  forgets what was taken; answers ``[]``
``wait N`` answers once N messages were taken: ``[[MAIL FROM, final dot, first recipient, bytes], …]``
=========  =======================================================================================

Times are seconds since the epoch. It ends when stdin does. The first line on stdout is the port.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

_END = b"\r\n.\r\n"
_EXTENSIONS = ("PIPELINING", "SIZE 104857600", "8BITMIME", "AUTH PLAIN")
_EHLO = "".join(f"250-{line}\r\n" for line in ("sink", *_EXTENSIONS)).encode() + b"250 ENHANCEDSTATUSCODES\r\n"
_OK, _GO_ON, _BYE, _WELCOME = b"250 2.0.0 Ok\r\n", b"354 Go on\r\n", b"221 2.0.0 Bye\r\n", b"235 2.7.0 Ok\r\n"
_BACKLOG = 1024

Taken = tuple[float, float, str, int]


class Ledger:
    """What was taken, and who waits for how much of it."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self._wanted: int | None = None

    def note(self, message: Taken) -> None:
        """Remember one message."""
        self.taken.append(message)
        self._answer_if_enough()

    def obey(self, line: str) -> None:
        """Carry out a command of the parent."""
        verb, _, number = line.partition(" ")
        if verb == "clear":
            self.taken.clear()
            self._wanted = None
            print("[]", flush=True)
        else:
            self._wanted = int(number)
            self._answer_if_enough()

    def _answer_if_enough(self) -> None:
        if self._wanted is not None and len(self.taken) >= self._wanted:
            self._wanted = None
            print(json.dumps(self.taken), flush=True)


class Session(asyncio.Protocol):
    """One SMTP connection."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._buffer = b""
        self._in_message = False
        self._size = 0
        self._mail_at = 0.0
        self._recipient = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every whole command, be they pipelined or not."""
        self._buffer += data
        replies = []
        while reply := self._message() if self._in_message else self._command():
            replies.append(reply)
        self._transport.write(b"".join(replies))
        if replies and replies[-1] is _BYE:
            self._transport.close()

    def _command(self) -> bytes:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return b""
        self._buffer = rest
        verb = line[:4].upper()
        if verb == b"MAIL":
            self._mail_at, self._recipient = time.time(), ""
        elif verb == b"RCPT":
            self._recipient = self._recipient or line.partition(b"<")[2].partition(b">")[0].decode()
        elif verb == b"DATA":
            # The line end of DATA itself is the first half of the final dot of an empty message.
            self._buffer = b"\r\n" + rest
            self._in_message, self._size = True, 0
            return _GO_ON
        elif verb == b"AUTH":
            return _WELCOME
        elif verb == b"EHLO":
            return _EHLO
        elif verb == b"QUIT":
            return _BYE
        return _OK

    def _message(self) -> bytes:
        at = self._buffer.find(_END)
        if at < 0:
            # Keep what may be the beginning of the end, forget the rest.
            self._size += max(0, len(self._buffer) - len(_END) + 1)
            self._buffer = self._buffer[1 - len(_END) :]
            return b""
        size = self._size + at
        self._buffer = self._buffer[at + len(_END) :]
        self._in_message = False
        self._ledger.note((self._mail_at, time.time(), self._recipient, size))
        return _OK


async def main() -> None:
    """Serve on a free port of the loopback."""
    ledger = Ledger()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(ledger), "127.0.0.1", 0, backlog=_BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with server:
        while line := await orders.readline():
            ledger.obey(line.decode().strip())


if __name__ == "__main__":
    asyncio.run(main())
