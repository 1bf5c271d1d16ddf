"""Delivers messages over a few persistent SMTP connections.

A connection costs more than a message, so it is kept: the one used last is used next, so that the others fall idle
and are closed when there is little to do.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from outspool.adapters.smtp.account import Security, SmtpAccount, Timeouts
from outspool.adapters.smtp.errors import Silence, explain_refused_name
from outspool.adapters.smtp.transaction import StaleConnection, Transaction, pack
from outspool.domain.delivery import Phase, is_about_our_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from outspool.adapters.smtp.connection import Connection
    from outspool.adapters.smtp.transaction import PackedMessage
    from outspool.domain.delivery import Delivery
    from outspool.ports.transport import Stream

__all__ = ["Security", "SmtpAccount", "SmtpTransport", "Timeouts"]

_MOST_MESSAGES = 100
"""How many transactions one connection serves; servers tend to cut longer sessions, at a time of their choosing."""


class SmtpTransport:
    """`outspool.ports.transport.Transport` over SMTP, with a connection for each delivery at a time, kept while warm.

    How many that are is the caller's to limit. Belongs to one event loop. Certificates are always verified, against
    `tls_context` or the system's authorities (SSL_CERT_FILE names others).
    """

    def __init__(
        self,
        account: SmtpAccount,
        *,
        tls_context: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Open nothing yet."""
        self._account = account
        self._tls_context = tls_context
        self._timeouts = timeouts or Timeouts()
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._is_closed = False

    async def deliver(
        self,
        message: bytes | Stream,
        *,
        sender: str,
        recipients: Sequence[str],
        before_data: Callable[[], Awaitable[None]],
    ) -> Delivery:
        """Offer `message` for `recipients`, and return what became of each, by the address given.

        `before_data` is awaited after at least one recipient was taken and before ``DATA``; if it raises, nothing is
        sent and its exception comes through; likewise what the chunks of a `Stream` raise. Raises `AccountTrouble` when
        the account, not the message, is at fault; nothing was sent then either. Raises `ValueError` for an address that
        is not one plain ASCII address.

        Cancelled before the first byte of the message, nothing is sent; after it, the server may have the message.
        """
        parcel = pack(message, sender, recipients)
        connection = self._take()
        if connection is not None:
            try:
                return await self._run(connection, parcel, before_data)
            except StaleConnection:
                pass
        return await self._run(await self._open(), parcel, before_data)

    async def check(self, *, sender: str = "") -> None:
        """Connect, encrypt, log in and leave again, over a connection of its own. Raises `AccountTrouble`.

        With a `sender`, also name it as sender and as recipient, and send nothing: many servers judge our own name
        only then.
        """
        connection = await self._open()
        try:
            if sender:
                for words in ((b"MAIL", f"FROM:<{sender}>".encode()), (b"RCPT", f"TO:<{sender}>".encode())):
                    reply = await connection.command(*words)
                    if is_about_our_name(reply):
                        raise explain_refused_name(self._account, Phase.RCPT, reply)
            await connection.quit()
        except Silence:
            pass  # it has let us in; what it does with mail is seen when there is some
        finally:
            connection.drop()

    async def close(self) -> None:
        """Say ``QUIT`` on idle connections and close them; those at work close when they are done."""
        self._is_closed = True
        idle, self._idle = self._idle, {}
        for timer in idle.values():
            timer.cancel()
        await asyncio.gather(*(connection.quit() for connection in idle))

    async def _run(
        self, connection: Connection, parcel: PackedMessage, before_data: Callable[[], Awaitable[None]]
    ) -> Delivery:
        try:
            delivery = await Transaction(connection, self._account, parcel).run(before_data)
        except BaseException:
            connection.drop()  # in a state nobody knows: never to be used again
            raise
        self._keep(connection)
        return delivery

    async def _open(self) -> Connection:
        from outspool.adapters.smtp.connection import open_connection  # aiosmtplib is not needed at start

        if self._tls_context is None and self._account.security is not Security.NONE:
            self._tls_context = await asyncio.to_thread(ssl.create_default_context)
        return await open_connection(self._account, self._timeouts, self._tls_context)

    def _take(self) -> Connection | None:
        """Return the idle connection used last that still stands, if any."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if connection.is_open:
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        """Put a connection aside for the next message, for a while."""
        if self._is_closed or connection.messages >= _MOST_MESSAGES:
            connection.part()
        elif connection.is_open:
            loop = asyncio.get_running_loop()
            self._idle[connection] = loop.call_later(self._timeouts.idle, self._retire, connection)

    def _retire(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        connection.part()
