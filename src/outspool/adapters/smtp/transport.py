"""Delivers messages over a pool of persistent SMTP connections.

Opening a connection costs more than sending a message, so connections are reused. The last used is taken first, so that
surplus connections become idle and are closed.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from outspool.adapters.smtp.account import Security, SmtpAccount, Timeouts
from outspool.adapters.smtp.authorities import trust_authorities
from outspool.adapters.smtp.errors import Silence, explain_refused_name, explain_refused_sender
from outspool.adapters.smtp.transaction import StaleConnection, Transaction, pack
from outspool.domain.cause import Cause, find_cause
from outspool.domain.delivery import Phase, is_about_our_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from outspool.adapters.smtp.connection import Connection
    from outspool.adapters.smtp.transaction import PackedMessage
    from outspool.domain.delivery import Delivery
    from outspool.ports.transport import Stream

__all__ = ["Security", "SmtpAccount", "SmtpTransport", "Timeouts"]

_FIRST_NEGATIVE = 400
_OF_ONE_EMAIL = frozenset({Cause.RECIPIENT, Cause.FULL, Cause.RECIPIENT_COUNT, Cause.SIZE, Cause.CONTENT, Cause.OTHER})
_MESSAGES_PER_CONNECTION = 100
"""Transactions per connection; servers tend to cut longer sessions at a bad moment."""


class SmtpTransport:
    """The `Transport` port over SMTP: one connection for each delivery at a time, reused while it is open.

    How many that are is the caller's to limit. Belongs to one event loop. Certificates are always verified, against
    `tls_context` or the authorities of the account, by default the system's.
    """

    def __init__(
        self,
        account: SmtpAccount,
        *,
        tls_context: ssl.SSLContext | None = None,
        timeouts: Timeouts | None = None,
        report: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """Open nothing yet.

        `report` is told, after `Timeouts.silence`, that the server does not answer while a connection is opened; and ""
        when it answers after all.
        """
        self._account = account
        self._tls_context = tls_context
        self._timeouts = timeouts or Timeouts()
        self._report = report
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._owed_fresh: set[tuple[str, tuple[str, ...]]] = set()
        self._silent: set[asyncio.Task[object]] = set()
        self._is_stopping = False
        self._is_closed = False

    async def deliver(
        self,
        message: bytes | Stream,
        *,
        sender: str,
        recipients: Sequence[str],
        before_data: Callable[[], Awaitable[None]],
    ) -> Delivery:
        """Send `message` to `recipients`; return each one's outcome, by address.

        `before_data` is awaited after at least one recipient was accepted and before ``DATA``. If it raises, or the
        chunks of a `Stream` do, nothing is sent and the exception is raised. Raises `AccountTrouble` if the account,
        not the message, is at fault; nothing was sent. Raises `ValueError` for an address that is not plain ASCII.

        If canceled before the first byte of the message, nothing is sent; after it, the server may have the message.
        """
        packed = pack(message, sender, recipients)
        delivery = await self._deliver_over_idle(packed, before_data)
        return delivery or await self._run(await self._open(), packed, before_data)

    async def _deliver_over_idle(
        self, packed: PackedMessage, before_data: Callable[[], Awaitable[None]]
    ) -> Delivery | None:
        """Deliver over an idle connection; None if there is none, or if it was lost or has carried enough.

        What was refused on a used connection gets a fresh one: then the refusal is about the email, and counts.
        """
        envelope = packed.sender, packed.recipients
        connection = None if envelope in self._owed_fresh else self._take_idle()
        self._owed_fresh.discard(envelope)
        if connection is None:
            return None
        try:
            delivery = await self._run(connection, packed, before_data)
        except StaleConnection:
            return None
        if any(outcome.is_session_limit for outcome in delivery.outcomes.values()):
            self._owed_fresh.add(envelope)
        return delivery

    async def check(self, *, sender: str = "") -> None:
        """Connect, encrypt, log in and quit, on a separate connection. Raises `AccountTrouble`.

        With a `sender`, also name it as sender and as recipient, and send nothing: many servers judge our own name,
        the sender and the login only then.
        """
        connection = await self._open()
        try:
            if sender:
                await self._offer(connection, sender)
            await connection.quit()
        except Silence:
            pass  # it has let us in; what it does with mail is seen when there is some
        finally:
            connection.drop()

    async def _offer(self, connection: Connection, sender: str) -> None:
        """Name `sender` as sender and recipient; raise `AccountTrouble` for a refusal that any email would meet."""
        for phase, verb in ((Phase.MAIL, b"MAIL"), (Phase.RCPT, b"RCPT")):
            reply = await connection.command(verb, f"{'FROM' if phase is Phase.MAIL else 'TO'}:<{sender}>".encode())
            if is_about_our_name(reply):
                raise explain_refused_name(self._account, phase, reply)
            if reply.code >= _FIRST_NEGATIVE and find_cause(phase, reply) not in _OF_ONE_EMAIL:
                raise explain_refused_sender(self._account, phase, reply, sender)

    async def close(self) -> None:
        """Send ``QUIT`` on idle connections and close them; busy ones close when they are done."""
        self._is_closed = True
        idle, self._idle = self._idle, {}
        for timer in idle.values():
            timer.cancel()
        await asyncio.gather(*(connection.quit() for connection in idle))

    async def _run(
        self, connection: Connection, packed: PackedMessage, before_data: Callable[[], Awaitable[None]]
    ) -> Delivery:
        try:
            delivery = await Transaction(connection, self._account, packed).run(before_data)
        except BaseException:
            connection.drop()  # its state is unknown
            raise
        self._keep_idle(connection)
        return delivery

    async def _open(self) -> Connection:
        from outspool.adapters.smtp.connection import open_connection  # aiosmtplib is not needed at start

        if self._tls_context is None and self._account.security is not Security.NONE:
            self._tls_context = await asyncio.to_thread(trust_authorities, self._account)
        async with self._watch_silence():
            return await open_connection(self._account, self._timeouts, self._tls_context)

    def abandon_silent(self) -> None:
        """Cancel the deliveries that wait for a server that does not answer, and those that will; nothing was sent."""
        self._is_stopping = True
        for task in self._silent:
            task.cancel()

    @asynccontextmanager
    async def _watch_silence(self) -> AsyncIterator[None]:
        """Report when the server keeps us waiting, and when it has answered; a failure speaks for itself."""
        task = asyncio.current_task()
        assert task is not None
        watching = asyncio.create_task(self._note_silence(task))
        try:
            yield
            if task in self._silent and self._report is not None:
                await self._report("")
        finally:
            watching.cancel()
            self._silent.discard(task)

    async def _note_silence(self, task: asyncio.Task[object]) -> None:
        """Wait for `Timeouts.silence`, then count `task` among those that wait for the server, and report it."""
        silence = self._timeouts.silence
        await asyncio.sleep(silence)
        self._silent.add(task)
        if self._is_stopping:
            task.cancel()
        elif self._report is not None:
            await self._report(f"{self._account} has not answered for {silence:.0f} s; check that name and port.")

    def _take_idle(self) -> Connection | None:
        """Return the last used idle connection that is still open, if any."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if connection.is_open:
                return connection
        return None

    def _keep_idle(self, connection: Connection) -> None:
        """Keep an idle connection for the next message."""
        if self._is_closed or connection.messages >= _MESSAGES_PER_CONNECTION:
            connection.quit_nowait()
        elif connection.is_open:
            loop = asyncio.get_running_loop()
            self._idle[connection] = loop.call_later(self._timeouts.idle, self._retire, connection)

    def _retire(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        connection.quit_nowait()
