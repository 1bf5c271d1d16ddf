"""One mail transaction (RFC 5321 §3.3) on an open connection: MAIL, RCPT for each, DATA, message.

The meaning of a reply is decided by `outspool.domain.delivery.classify` alone.
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
    """A pooled connection was closed, or has carried enough. Nothing was marked, so a new one may be tried."""


@dataclass(frozen=True, slots=True)
class PackedMessage:
    """A message ready for the wire, with its envelope; see `pack`.

    `payload` is everything after DATA including the final dot, or a stream; `size` is the message's size (RFC 1870 §5).
    """

    sender: str
    recipients: tuple[str, ...]
    payload: bytes | Stream
    size: int
    is_ascii: bool


def pack(message: bytes | Stream, sender: str, recipients: Sequence[str]) -> PackedMessage:
    """Check the envelope and prepare the message for DATA: CRLF line ends, dot-stuffing.

    A `Stream` is prepared while it is sent. Raises `ValueError` for no recipient, and for an address that a server
    could parse as more or less than one address.
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
    """Sends one message over one connection and records the outcome of each recipient.

    Before DATA the server promises nothing, so a lost connection means: not sent, try again. Once the whole message may
    have reached the server, it may have accepted the message even if its reply is lost, and sending again could deliver
    twice. RFC 1047 describes this window; no client can close it. A failure there makes every accepted recipient in
    doubt, and `before_data` records beforehand that the window is about to open.
    """

    def __init__(self, connection: Connection, account: SmtpAccount, packed: PackedMessage) -> None:
        """Begin nothing yet; `account` names the server in errors."""
        self._connection = connection
        self._account = account
        self._packed = packed
        self._outcomes: dict[str, Outcome] = {}
        self._is_reused = connection.messages > 0

    async def run(self, before_data: Callable[[], Awaitable[None]]) -> Delivery:
        """Run the whole transaction; afterwards the connection is closed or ready for another.

        Raises `AccountTrouble` (nothing was sent), `StaleConnection` (nothing was marked), or whatever `before_data`
        raises; the connection must not be used again then.
        """
        if await self._send_envelope():
            await before_data()
            if await self._send_command(Phase.DATA, b"DATA"):
                await self._send_message()
            elif self._connection.is_open:
                await self._reset()
        elif self._connection.is_open:
            await self._reset()
        return Delivery(outcomes={address: self._outcomes[address] for address in self._packed.recipients})

    async def _send_envelope(self) -> bool:
        """Send MAIL and every RCPT; return whether any recipient was accepted."""
        if not await self._send_command(
            Phase.MAIL, b"MAIL", f"FROM:<{self._packed.sender}>".encode(), *self._mail_options()
        ):
            return False
        accepted: list[str] = []
        for address in self._packed.recipients:
            is_accepted = await self._send_command(Phase.RCPT, b"RCPT", f"TO:<{address}>".encode(), only=address)
            if not self._connection.is_open:
                return False
            accepted += [address] if is_accepted else []
        return bool(accepted)

    def _mail_options(self) -> list[bytes]:
        """Return SIZE (RFC 1870), so that a too large message is rejected before it is sent, and BODY (RFC 6152)."""
        options = [f"SIZE={self._packed.size}".encode()] if self._connection.offers("size") else []
        if not self._packed.is_ascii and self._connection.offers("8bitmime"):
            options.append(b"BODY=8BITMIME")
        return options

    async def _send_command(self, phase: Phase, *words: bytes, only: str = "") -> bool:
        """Send a command; if rejected, settle the recipient `only`, or all unsettled ones. Return if accepted."""
        is_retriable = self._is_reused and phase in (Phase.MAIL, Phase.RCPT)  # nothing is marked yet
        self._connection.messages += phase is Phase.MAIL
        try:
            reply = await self._connection.command(*words)
        except Silence as silence:
            if is_retriable:
                raise StaleConnection from silence
            self._settle(Outcome(verdict=Verdict.RETRY, why=f"At {phase.upper()}: {silence}.", phase=phase))
            return False
        if is_retriable and (reply.code == _CLOSING or is_session_limit(phase, reply)):
            raise StaleConnection
        return self._read(phase, reply, only)

    def _read(self, phase: Phase, reply: Reply, only: str = "") -> bool:
        if is_about_our_name(reply):
            raise explain_refused_name(self._account, phase, reply)
        if self._is_reused and is_session_limit(phase, reply):
            self._connection.drop()
            self._settle(Outcome(verdict=Verdict.RETRY, reply=reply, phase=phase, is_session_limit=True))
            return False
        meaning = classify(phase, reply)
        if isinstance(meaning, TroubleKind):
            raise explain_refusal(self._account, phase, reply)
        if meaning is Verdict.TAKEN:
            return True
        self._settle(Outcome(verdict=meaning, reply=reply, phase=phase), only)
        if reply.code < _FIRST_NEGATIVE:  # neither accepted nor rejected: out of step
            self._connection.drop()
            self._settle(Outcome(verdict=Verdict.RETRY, why=f"At {phase.upper()}: a reply out of order."))
        return False

    async def _send_message(self) -> None:
        """Send the message; once the server may have all of it, silence means doubt (RFC 1047)."""
        payload, connection = self._packed.payload, self._connection
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
        """End the transaction so that the connection can be reused; close it if the server refuses."""
        try:
            reply = await self._connection.command(b"RSET")
        except Silence:
            return
        if classify(Phase.MAIL, reply) is not Verdict.TAKEN:
            self._connection.drop()

    def _settle(self, outcome: Outcome, only: str = "") -> None:
        """Record the outcome of one recipient, or of all that have none yet."""
        for address in [only] if only else self._packed.recipients:
            self._outcomes.setdefault(address, outcome)
