"""A program that sends the same email again and again with aiosmtplib and nothing else: the limit of that library.

Arguments: port, how (``kept``: connections are kept, the bytes made before; ``composed``: kept, each message built with
`EmailMessage`; ``new``: a connection for each message), connections, messages.
"""

from __future__ import annotations

import asyncio
import sys
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import aiosmtplib

SENDER, RECIPIENT = "me@example.com", "ada@example.com"
BODY = f"{'A line of text. ' * 4}.\n" * 57


def message() -> EmailMessage:
    """Build a message as a program without an outbox would."""
    built = EmailMessage()
    built["From"], built["To"], built["Subject"] = SENDER, RECIPIENT, "A figure"
    built["Date"], built["Message-ID"] = formatdate(), make_msgid(domain="example.com")
    built.set_content(BODY)
    return built


async def send(port: int, how: str, connections: int, messages: int) -> None:
    """Send them all over so many connections at once."""
    ready = message().as_bytes().replace(b"\n", b"\r\n")
    waiting = iter(range(messages))

    async def keep_sending() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp:
            for _ in waiting:
                if how == "composed":
                    await smtp.send_message(message())
                else:
                    await smtp.sendmail(SENDER, [RECIPIENT], ready)

    async def connect_each_time() -> None:
        for _ in waiting:
            await aiosmtplib.send(
                ready, sender=SENDER, recipients=[RECIPIENT], hostname="127.0.0.1", port=port, start_tls=False
            )

    await asyncio.gather(*(connect_each_time() if how == "new" else keep_sending() for _ in range(connections)))


if __name__ == "__main__":
    port, how, connections, messages = sys.argv[1:]
    asyncio.run(send(int(port), how, int(connections), int(messages)))
