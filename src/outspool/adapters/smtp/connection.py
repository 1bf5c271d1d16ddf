"""One SMTP connection: opened, secured and logged in, then driven command by command.

Each command returns its reply or raises `Silence`, so the caller always knows which command failed. aiosmtplib's own
`send` raises the same exception whether the connection was lost after MAIL or after the final dot, which is the
difference between "retry" and "in doubt" (RFC 1047).

Importing this module loads aiosmtplib, so it is imported with the first connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import aiosmtplib

from outspool.adapters.smtp.account import Security
from outspool.adapters.smtp.errors import (
    Silence,
    explain_missing_login,
    explain_missing_starttls,
    explain_refusal,
    explain_refused_name,
    explain_unreachable,
)
from outspool.adapters.smtp.login import log_in
from outspool.adapters.smtp.stream import send_stream
from outspool.domain.delivery import Phase, is_about_our_name, parse_reply

if TYPE_CHECKING:
    import ssl

    from aiosmtplib.response import SMTPResponse

    from outspool.adapters.smtp.account import SmtpAccount, Timeouts
    from outspool.domain.email import Reply
    from outspool.errors import AccountTrouble
    from outspool.ports.transport import Stream

_SLOWEST_RATE = 16 * 1024
"""Bytes per second: a large message is given time for this rate, beside the wait for the reply."""
_QUIT_PATIENCE = 2.0
_UNKNOWN_COMMAND = (500, 502)
_BAD_ARGUMENT = (501, 504)
_CLOSING = 421
_CODES = range(200, 600)
_NEGATIVE_CODES = range(400, 600)
_NONSENSE = "the server answered with something that is no SMTP reply"


class Connection:
    """An open, logged-in SMTP connection, for one transaction at a time."""

    def __init__(self, smtp: aiosmtplib.SMTP, timeouts: Timeouts) -> None:
        """Wrap an opened session; see `open_connection`."""
        self._smtp = smtp
        self._timeouts = timeouts
        self.messages = 0
        """Number of transactions begun."""

    @property
    def is_open(self) -> bool:
        """False once the connection is known to be closed."""
        return self._smtp.is_connected

    def offers(self, extension: str) -> bool:
        """Tell whether the server announced this ESMTP extension."""
        return self._smtp.supports_extension(extension)

    async def command(self, *words: bytes) -> Reply:
        """Send one command and return its reply; close and raise `Silence` if there is none."""
        try:
            code, text = await self._smtp.execute_command(*words)
        except (aiosmtplib.SMTPException, OSError) as failure:
            raise self._silence(failure, self._timeouts.command) from failure
        return self._reply(code, text)

    async def message(self, payload: bytes) -> Reply | None:
        """Send a dot-stuffed message with its final dot; return the reply.

        Returns None if the connection was found lost before the first byte: nothing was sent. Raises `Silence` if it
        failed after that: the server may have the message.
        """
        protocol = self._smtp.protocol
        if protocol is None or not protocol.is_connected:
            return None
        patience = self._timeouts.message + len(payload) / _SLOWEST_RATE
        try:
            # No await in between, so that no reply can arrive before somebody waits for it.
            protocol.write(payload)
            code, text = await protocol.read_response(timeout=patience)
        except (aiosmtplib.SMTPException, OSError) as failure:
            raise self._silence(failure, patience) from failure
        if code == _CLOSING:
            self._smtp.close()
        return self._reply(code, text)

    async def stream(self, stream: Stream) -> Reply | None:
        """Send a message chunk by chunk; return the reply, which may come early, with the connection closed.

        Returns None if the connection failed or stalled before the final dot was written: nothing was sent. Raises
        `Silence` if it failed after the final dot: the server may have the message. If the chunks raise, nothing was
        sent, and the connection must be dropped.
        """
        protocol = self._smtp.protocol
        if protocol is None or not protocol.is_connected:
            return None
        # Wait before the first byte is sent: aiosmtplib discards a reply that nobody waits for.
        reading = asyncio.create_task(protocol.read_response())
        reading.add_done_callback(_consume_exception)
        try:
            try:
                end = await send_stream(protocol, stream, reading, patience=self._timeouts.command)
                if end is None:
                    return self._read_early_reply(reading)
                protocol.write(end)
            except (aiosmtplib.SMTPException, OSError):
                self.drop()
                return None
            return await self._read_final_reply(reading, stream.size)
        finally:
            reading.cancel()

    async def quit(self) -> None:
        """Send QUIT, wait briefly for the reply, close. Never raises."""
        try:
            await self._smtp.execute_command(b"QUIT", timeout=_QUIT_PATIENCE)
        except (aiosmtplib.SMTPException, OSError):
            pass
        finally:
            self.drop()  # do not wait for the server to close TLS

    def drop(self) -> None:
        """Close at once; unsent data is discarded."""
        if self._smtp.transport is not None:
            cast("asyncio.WriteTransport", self._smtp.transport).abort()
        self._smtp.close()

    def quit_nowait(self) -> None:
        """Send QUIT without waiting for the reply, and close; needs no task."""
        if self._smtp.protocol is not None and self._smtp.is_connected:
            self._smtp.protocol.write(b"QUIT\r\n")
        self._smtp.close()

    def _read_early_reply(self, reading: asyncio.Task[SMTPResponse]) -> Reply | None:
        """Return the server's reply before the end of the message; None if there is none that means anything."""
        self.drop()
        if reading.cancelled() or reading.exception() is not None:
            return None
        reply = parse_reply(*reading.result())
        return reply if reply.code in _NEGATIVE_CODES else None

    async def _read_final_reply(self, reading: asyncio.Task[SMTPResponse], size: int) -> Reply:
        patience = self._timeouts.message + size / _SLOWEST_RATE
        try:
            code, text = await asyncio.wait_for(reading, patience)
        except (aiosmtplib.SMTPException, OSError) as failure:
            raise self._silence(failure, patience) from failure
        if code == _CLOSING:
            self._smtp.close()
        return self._reply(code, text)

    def _reply(self, code: int, text: str) -> Reply:
        if code not in _CODES:
            self.drop()
            raise Silence(_NONSENSE)
        return parse_reply(code, text)

    def _silence(self, failure: Exception, patience: float) -> Silence:
        self.drop()
        if isinstance(failure, TimeoutError):
            return Silence(f"no reply within {patience:.0f} s")
        if isinstance(failure, aiosmtplib.SMTPResponseException):
            return Silence(_NONSENSE)
        return Silence("the connection was lost")


def _consume_exception(reading: asyncio.Task[SMTPResponse]) -> None:
    if not reading.cancelled():
        reading.exception()  # mark it as retrieved


async def open_connection(account: SmtpAccount, timeouts: Timeouts, tls: ssl.SSLContext | None) -> Connection:
    """Connect, encrypt and log in. Raises `AccountTrouble` with nothing left open."""
    smtp = aiosmtplib.SMTP(
        hostname=account.host,
        port=account.port,
        use_tls=account.security is Security.TLS,
        start_tls=False,
        tls_context=tls,
        local_hostname=account.helo_name,
        timeout=timeouts.command,
    )
    phase = Phase.CONNECT
    try:
        await smtp.connect(timeout=timeouts.connect)
        await _greet(smtp, account)
        if account.security is Security.STARTTLS:
            phase = Phase.TLS
            await _start_tls(smtp, account, timeouts)
        phase = Phase.LOGIN
        if account.username is not None and account.password is not None:
            await log_in(smtp, account, account.username, account.password)
    except (aiosmtplib.SMTPException, OSError, UnicodeError) as failure:
        smtp.close()
        raise _trouble(account, phase, failure) from None
    except BaseException:
        smtp.close()
        raise
    return Connection(smtp, timeouts)


def _trouble(account: SmtpAccount, phase: Phase, failure: Exception) -> AccountTrouble:
    if isinstance(failure, aiosmtplib.SMTPResponseException) and failure.code in _CODES:
        reply = parse_reply(failure.code, failure.message)
        if is_about_our_name(reply) or _refuses_greeting(failure):
            return explain_refused_name(account, phase, reply)
        return explain_refusal(account, phase, reply)
    return explain_unreachable(account, phase, failure)


def _refuses_greeting(failure: aiosmtplib.SMTPResponseException) -> bool:
    """Tell whether the server refuses the argument of EHLO, or hangs up over it as Google's relay does."""
    if not isinstance(failure, aiosmtplib.SMTPHeloError):
        return False
    return failure.code in _BAD_ARGUMENT or (failure.code == _CLOSING and "EHLO" in failure.message)


async def _greet(smtp: aiosmtplib.SMTP, account: SmtpAccount) -> None:
    """Say EHLO; a server that knows only HELO will do where neither TLS nor a login is wanted (RFC 5321 §3.2)."""
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as failure:
        if failure.code not in _UNKNOWN_COMMAND:
            raise
        if account.security is Security.STARTTLS:
            raise explain_missing_starttls(account) from None
        if account.username is not None:
            raise explain_missing_login(account, ()) from None
        await smtp.helo()


async def _start_tls(smtp: aiosmtplib.SMTP, account: SmtpAccount, timeouts: Timeouts) -> None:
    if not smtp.supports_extension("starttls"):
        raise explain_missing_starttls(account)
    await smtp.starttls(timeout=timeouts.connect)
    await smtp.ehlo()
