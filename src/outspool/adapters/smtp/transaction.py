"""One mail transaction (RFC 5321 §3.3) over an open connection: MAIL, RCPT for each, DATA, the message.

What a reply means is decided by `outspool.domain.delivery.classify` alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outspool.adapters.smtp.errors import Silence, explain_refusal, explain_refused_name
from outspool.domain.delivery import Delivery, Outcome, Phase, Verdict, classify, is_about_our_name, is_session_limit
from outspool.errors import TroubleKind, brief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from outspool.adapters.smtp.account import SmtpAccount
    from outspool.adapters.smtp.connection import Connection
    from outspool.domain.email import Reply
    from outspool.ports.transport import Stream

_ADDRESS = re.compile(r"[!-~]+")
_BARE = re.compile(rb"\r\n|\r|\n")
_CLOSING = 421
_FIRST_NEGATIVE = 400


class StaleConnection(Exception):
    """A connection from the pool had died meanwhile; nothing was begun on it, so a fresh one may take its place."""


@dataclass(frozen=True, slots=True)
class PackedMessage:
    """A message ready for the wire, with its envelope; see `pack`.

    `payload` is all that follows DATA, the final dot too, or where it comes from; `size` is the message's own
    (RFC 1870 §5).
    """

    sender: str
    recipients: tuple[str, ...]
    payload: bytes | Stream
    size: int
    is_ascii: bool


def pack(message: bytes | Stream, sender: str, recipients: Sequence[str]) -> PackedMessage:
    """Check the envelope and make the message fit for DATA: every line ends in CRLF, leading dots are stuffed.

    A `Stream` stays as it is until it is sent.

    Raises `ValueError` for no recipient, and for an address that could be read as more or less than one.
    """
    if not recipients:
        raise ValueError("A message needs at least one recipient.")
    for address in (sender, *recipients):
        if not _ADDRESS.fullmatch(address) or any(c in "<>," for c in address):
            raise ValueError(f"{brief(address)} is not one plain ASCII address.")
    if not isinstance(message, bytes):
        return PackedMessage(sender, tuple(dict.fromkeys(recipients)), message, message.size, is_ascii=True)
    text = message
    if not message.count(b"\r\n") == message.count(b"\r") == message.count(b"\n"):
        text = _BARE.sub(b"\r\n", message)
    if not text.endswith(b"\r\n"):
        text += b"\r\n"
    stuffed = text.replace(b"\n.", b"\n..")
    payload = b"".join((b"." if stuffed.startswith(b".") else b"", stuffed, b".\r\n"))
    return PackedMessage(sender, tuple(dict.fromkeys(recipients)), payload, len(text), text.isascii())


_LOST = "Before the message was whole: the connection was lost."


class Transaction:
    """Offers one parcel over one connection, and notes what becomes of each recipient."""

    def __init__(self, connection: Connection, account: SmtpAccount, parcel: PackedMessage) -> None:
        """Make a transaction that has not begun; `account` is for naming the server in errors."""
        self._connection = connection
        self._account = account
        self._parcel = parcel
        self._outcomes: dict[str, Outcome] = {}
        self._is_reused = connection.messages > 0

    async def run(self, before_data: Callable[[], Awaitable[None]]) -> Delivery:
        """Go through all phases; the connection is then closed, or fit for another transaction.

        Raises `AccountTrouble` (nothing was sent), `StaleConnection` (nothing was begun), or whatever `before_data`
        raises; the connection must not be used again then.
        """
        if await self._send_envelope():
            await before_data()
            if await self._told(Phase.DATA, b"DATA"):
                await self._send()
            elif self._connection.is_open:
                await self._reset()
        elif self._connection.is_open:
            await self._reset()
        return Delivery(outcomes={address: self._outcomes[address] for address in self._parcel.recipients})

    async def _send_envelope(self) -> bool:
        """Say MAIL and every RCPT; return whether anybody may get the message."""
        if not await self._told(Phase.MAIL, b"MAIL", f"FROM:<{self._parcel.sender}>".encode(), *self._mail_options()):
            return False
        waiting: list[str] = []
        for address in self._parcel.recipients:
            taken = await self._told(Phase.RCPT, b"RCPT", f"TO:<{address}>".encode(), only=address)
            if not self._connection.is_open:
                return False
            waiting += [address] if taken else []
        return bool(waiting)

    def _mail_options(self) -> list[bytes]:
        """Return SIZE (RFC 1870), so that a message too large is refused before it is sent, and BODY (RFC 6152)."""
        options = [f"SIZE={self._parcel.size}".encode()] if self._connection.offers("size") else []
        if not self._parcel.is_ascii and self._connection.offers("8bitmime"):
            options.append(b"BODY=8BITMIME")
        return options

    async def _told(self, phase: Phase, *words: bytes, only: str = "") -> bool:
        """Send a command; return whether it was accepted, else settle `only` that recipient, or all that are open."""
        is_reused = phase is Phase.MAIL and self._is_reused
        self._connection.messages += phase is Phase.MAIL
        try:
            reply = await self._connection.command(*words)
        except Silence as silence:
            if is_reused:
                raise StaleConnection from silence
            self._settle(Outcome(verdict=Verdict.RETRY, why=f"At {phase.upper()}: {silence}.", phase=phase))
            return False
        if is_reused and (reply.code == _CLOSING or is_session_limit(phase, reply)):
            raise StaleConnection
        return self._read(phase, reply, only)

    def _read(self, phase: Phase, reply: Reply, only: str = "") -> bool:
        if is_about_our_name(reply):
            raise explain_refused_name(self._account, phase, reply)
        if self._is_reused and is_session_limit(phase, reply):
            self._connection.drop()
            self._settle(Outcome(verdict=Verdict.RETRY, reply=reply, is_session_limit=True))
            return False
        means = classify(phase, reply)
        if isinstance(means, TroubleKind):
            raise explain_refusal(self._account, phase, reply)
        if means is Verdict.TAKEN:
            return True
        self._settle(Outcome(verdict=means, reply=reply), only)
        if reply.code < _FIRST_NEGATIVE:  # neither yes nor no: the two ends disagree on where they are
            self._connection.drop()
            self._settle(Outcome(verdict=Verdict.RETRY, why=f"At {phase.upper()}: a reply out of order."))
        return False

    async def _send(self) -> None:
        """Send the message itself: once the server may have all of it silence means doubt (RFC 1047)."""
        payload, connection = self._parcel.payload, self._connection
        try:
            reply = await (connection.message(payload) if isinstance(payload, bytes) else connection.stream(payload))
        except Silence as silence:
            self._settle(Outcome(verdict=Verdict.IN_DOUBT, why=f"After the message: {silence}."))
            return
        if reply is None:
            self._settle(Outcome(verdict=Verdict.RETRY, why=_LOST, phase=Phase.DATA))
        elif self._read(Phase.MESSAGE, reply):
            self._settle(Outcome(verdict=Verdict.TAKEN, reply=reply))

    async def _reset(self) -> None:
        """End the transaction so that the connection can be used again; close it when the server will not."""
        try:
            reply = await self._connection.command(b"RSET")
        except Silence:
            return
        if classify(Phase.MAIL, reply) is not Verdict.TAKEN:
            self._connection.drop()

    def _settle(self, outcome: Outcome, only: str = "") -> None:
        """Note the outcome of one recipient, or of all that have none yet."""
        for address in [only] if only else self._parcel.recipients:
            self._outcomes.setdefault(address, outcome)
