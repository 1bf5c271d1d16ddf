"""The process behind `support.smtp_sink.SmtpSink`: an aiosmtpd server that spools what it takes and errs on request.

Run with one argument, its settings as JSON; prints its port when it listens, and ends when its stdin does. Or call
`listen` in a process that exists already.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import random
import re
import socket
import ssl
import struct
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session

RECIPIENT_FAULTS = {
    "refuse-": ("rcpt", "550 5.1.1 No such mailbox here"),
    "defer-": ("rcpt", "451 4.3.0 Try again later"),
    "full-": ("rcpt", "452 4.2.2 Mailbox full"),
    "droprcpt-": ("rcpt", "drop"),
    "dropdata-": ("data", "drop"),
    "busy-": ("data", "421 4.7.0 Not this one, not now"),
    "data550-": ("message", "550 5.7.1 Message refused by policy"),
    "data451-": ("message", "451 4.3.0 Message not taken now"),
    "dropdot-": ("message", "drop"),
    "stall-": ("message", "stall"),
    "slow-": ("message", "wait 2"),
    "takedrop-": ("taken", "drop"),
}
ONCE = "451 4.7.1 Greylisted, try again later"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, and for no time at all."""
_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>\r\n]+>)", re.IGNORECASE | re.MULTILINE)
_PLAIN_ADDRESS = re.compile(r"<([\w.+=-]+@[\w.-]+)>\s*(.*)", re.ASCII)


class Faults:
    """What shall go wrong at a step: by the control file, else by the local part of an address."""

    def __init__(self, control: Path) -> None:
        """Read `control` anew at every step; it need not exist."""
        self._control = control
        self._raw = b"{}"
        self._faults: dict[str, str] = {}
        self._greylisted: set[str] = set()

    def at(self, step: str, *addresses: str) -> str | None:
        """Return the fault for this step of a session, or None."""
        try:
            raw = self._control.read_bytes()
        except FileNotFoundError:
            raw = b"{}"
        if raw != self._raw:
            self._raw, self._faults = raw, json.loads(raw)
        general = self._faults.get(step)
        if general and random.random() < float(self._faults.get("share", "1")):
            return general
        return next(filter(None, (self._of(step, a) for a in addresses)), None)

    def _of(self, step: str, address: str) -> str | None:
        if step == "mail":
            return "drop" if address.startswith("dropmail") else None
        if step == "rcpt" and address.startswith("once-") and address not in self._greylisted:
            self._greylisted.add(address)
            return ONCE
        for prefix, (where, fault) in RECIPIENT_FAULTS.items():
            if where == step and address.startswith(prefix):
                return fault
        return None


class SinkSession(SMTP):
    """One connection; counts itself, and may fail at the greeting, at STARTTLS and at DATA."""

    event_handler: Handler

    async def _handle_client(self) -> None:
        self.event_handler.count_connection()
        try:
            reply = await self.suffer("greeting")
            if reply is None:
                await super()._handle_client()
            else:
                await self.push(reply)
        finally:
            self._writer.close()

    async def smtp_STARTTLS(self, arg: str) -> None:
        """Start TLS, or not."""
        reply = await self.suffer("starttls")
        await (self.push(reply) if reply else super().smtp_STARTTLS(arg))

    async def smtp_DATA(self, arg: str) -> None:
        """Ask for the message, or not."""
        reply = await self.suffer("data", *(self.envelope.rcpt_tos if self.envelope else ()))
        await (self.push(reply) if reply else super().smtp_DATA(arg))

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Read a plain address fast; aiosmtpd's own way takes a quarter of a message's time."""
        plain = _PLAIN_ADDRESS.fullmatch(arg)
        return (plain[1], plain[2]) if plain else super()._getaddr(arg)

    async def suffer(self, step: str, *addresses: str) -> str | None:
        """Undergo the fault of this step; return the reply to give instead of the usual one, if any."""
        fault = self.event_handler.faults.at(step, *addresses)
        if fault is None:
            return None
        how, _, seconds = fault.partition(" ")
        if how == "wait":
            await asyncio.sleep(float(seconds))
            return None
        if how == "hold":
            while self.event_handler.faults.at(step, *addresses) == fault:
                await asyncio.sleep(0.05)
            return None
        if how not in ("drop", "reset", "stall", "421"):
            return fault
        if step in ("message", "taken") and how != "421":
            self.event_handler.note_silence(step, fault, self.envelope)
        if how == "421":
            await self.push(fault)
            self._writer.close()
        elif how != "stall" or seconds:
            await asyncio.sleep(float(seconds or 0))
            self._cut(reset=how == "reset")
        await asyncio.Event().wait()  # until the connection is gone, which cancels this session
        return None

    def _cut(self, *, reset: bool) -> None:
        if reset:
            plain: socket.socket = self._writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._writer.transport.abort()


class Handler:
    """Takes messages into the spool file."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Append to the files that `settings` names."""
        self.faults = Faults(Path(settings["control"]))
        self._login = (settings["username"], settings["password"])
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._spool = os.open(settings["spool"], append)
        self._connections = os.open(settings["connections"], append)
        self._silences = os.open(settings["silences"], append)
        self._taken = 0

    def count_connection(self) -> None:
        """Note that somebody connected."""
        os.write(self._connections, b".")

    def note_silence(self, step: str, fault: str, envelope: Envelope | None) -> None:
        """Note whose message is about to get no reply: its sender will be in doubt (a 421 is a reply)."""
        line = {"step": step, "fault": fault, "message_id": _message_id(_content(envelope))}
        os.write(self._silences, json.dumps(line).encode() + b"\n")

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: Any
    ) -> AuthResult:
        """Let the one user in."""
        assert isinstance(login, LoginPassword)
        known = (login.login.decode(), login.password.decode()) == self._login
        return AuthResult(success=known, handled=False, auth_data=login)

    async def handle_EHLO(
        self, server: SinkSession, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Offer a login only where there is a user."""
        reply = await server.suffer("ehlo")
        if reply:
            return [reply]
        session.host_name = hostname
        return [line for line in responses if self._login[0] or not line.startswith("250-AUTH")]

    async def handle_AUTH(self, server: SinkSession, _session: Session, _envelope: Envelope, _args: list[str]) -> Any:
        """Let the login go on, or not."""
        return await server.suffer("auth") or MISSING

    async def handle_MAIL(
        self, server: SinkSession, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the sender, or not."""
        reply = await server.suffer("mail", address)
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply or "250 2.1.0 Sender ok"

    async def handle_RCPT(
        self, server: SinkSession, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        reply = await server.suffer("rcpt", address)
        if reply is None:
            envelope.rcpt_tos.append(address)
        return reply or "250 2.1.5 Recipient ok"

    async def handle_DATA(self, server: SinkSession, session: Session, envelope: Envelope) -> str:
        """Take the message, or not; when the reply is on its way the message is in the spool."""
        reply = await server.suffer("message", *envelope.rcpt_tos)
        if reply:
            return reply
        self._append(server, session, envelope)
        reply = await server.suffer("taken", *envelope.rcpt_tos)
        return reply or f"250 2.0.0 Ok: queued as {self._taken}"

    def _append(self, server: SinkSession, session: Session, envelope: Envelope) -> None:
        raw = _content(envelope)
        login: Any = session.auth_data
        tls = server.transport is not None and server.transport.get_extra_info("sslcontext") is not None
        line = {
            "at": time.time(),
            "mail_from": envelope.mail_from,
            "mail_options": envelope.mail_options,
            "rcpt_to": envelope.rcpt_tos,
            "message": base64.b64encode(raw).decode(),
            "message_id": _message_id(raw),
            "peer": list(session.peer or ()),
            "tls": tls,
            "user": login.login.decode() if session.authenticated else None,
        }
        os.write(self._spool, json.dumps(line).encode() + b"\n")
        self._taken += 1


def _content(envelope: Envelope | None) -> bytes:
    return (envelope.original_content if envelope else None) or b""


def _message_id(raw: bytes) -> str | None:
    found = _MESSAGE_ID.search(raw.partition(b"\r\n\r\n")[0])
    return found[1].decode("ascii", "replace") if found else None


def quieten() -> None:
    """Keep what aiosmtpd says of broken connections, and its warnings of what tests need, to ourselves."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")


async def listen(settings: dict[str, Any]) -> asyncio.Server:
    """Listen, and keep what comes."""
    handler = Handler(settings)
    security = settings["security"]
    tls = None
    if security != "none":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(settings["certificate"])

    def session() -> SinkSession:
        return SinkSession(
            handler,
            hostname="sink.example",
            ident="ESMTP",
            data_size_limit=settings["size_limit"],
            tls_context=tls if security == "starttls" else None,
            require_starttls=security == "starttls",
            auth_required=bool(settings["username"]),
            auth_require_tls=security == "starttls",
            authenticator=handler.authenticate,
        )

    return await asyncio.get_running_loop().create_server(
        session, settings["host"], settings["port"], ssl=tls if security == "tls" else None, backlog=512
    )


async def serve(settings: dict[str, Any]) -> None:
    """Listen until the stdin that the parent holds is closed."""
    server = await listen(settings)
    print(server.sockets[0].getsockname()[1], flush=True)
    orphaned = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), orphaned.set)
    await orphaned.wait()
    os._exit(0)


if __name__ == "__main__":
    quieten()
    asyncio.run(serve(json.loads(sys.argv[1])))
