"""An SMTP server that answers each command as a test says: for the replies of servers that no library imitates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Session", str], str | None]
"""From the session and a command line to the reply, None for the usual one; a NUL hangs up instead."""


@dataclass
class Session:
    """One connection: the `commands` it got, and how many `messages` and accepted `recipients` it has had."""

    commands: list[str] = field(default_factory=list)
    messages: int = 0
    recipients: int = 0


class QuirkySmtp:
    """Takes mail like any server, but for what `answer` says. `offers` are the lines of its EHLO reply."""

    def __init__(self, answer: Answer, *, offers: tuple[str, ...] = ("SIZE 50000000",)) -> None:
        """Listen nowhere yet."""
        self._answer = answer
        self._offers = offers
        self.port = 0
        self.sessions: list[Session] = []

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[QuirkySmtp]:
        """Serve on `port` of loopback until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session()
        self.sessions.append(session)
        writer.write(b"220 quirky.example ESMTP\r\n")
        try:
            while line := await reader.readline():
                command = line.decode().strip()
                session.commands.append(command)
                reply = self._answer(session, command) or self._usual(session, command)
                if reply == "\0":
                    break
                writer.write(reply.encode() + b"\r\n")
                if command == "DATA" and reply.startswith("354"):
                    await reader.readuntil(b"\r\n.\r\n")
                    session.messages += 1
                    writer.write(b"250 2.0.0 Ok\r\n")
                if command == "QUIT":
                    break
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _usual(self, session: Session, command: str) -> str:
        verb = command.split(" ", maxsplit=1)[0].upper()
        if verb == "EHLO":
            lines = ["quirky.example", *self._offers]
            return "\r\n".join(f"250{'-' if n + 1 < len(lines) else ' '}{text}" for n, text in enumerate(lines))
        if verb in ("MAIL", "RSET"):
            session.recipients = 0
        if verb == "RCPT":
            session.recipients += 1
        return {"DATA": "354 Go ahead", "QUIT": "221 2.0.0 Bye", "AUTH": "235 2.7.0 Welcome"}.get(verb, "250 2.0.0 Ok")
