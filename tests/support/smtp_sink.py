"""A real SMTP server in a process of its own, that keeps what it takes and errs on request.

::

    with SmtpSink(tmp_path, security="starttls", username="u", password="p") as sink:
        ...                                     # deliver to sink.host, sink.port, trusting sink.ca_file
        [mail] = await sink.wait_for(1)
        assert mail.recipients == ("a@example.com",)

What it takes is in its spool file before the reply leaves, so nothing is uncounted whoever is killed when. Stopped,
killed and restarted it keeps its port and its spool. One sink fits a whole test module: `clear` forgets the past.

Faults by the local part of a **recipient** (at the first that matches, when several meet after the final dot):

==============  =====================================================================
``refuse-*``    RCPT: 550 5.1.1
``defer-*``     RCPT: 451 4.3.0, always
``once-*``      RCPT: 451 4.7.1 the first time this address is seen (per server start)
``full-*``      RCPT: 452 4.2.2
``droprcpt-*``  RCPT: the connection drops
``dropdata-*``  DATA: the connection drops
``busy-*``      DATA: 421 4.7.0, and the connection closes
``data550-*``   final dot: 550 5.7.1
``data451-*``   final dot: 451 4.3.0
``dropdot-*``   final dot: the connection drops, the message is **not** taken
``takedrop-*``  final dot: the message **is** taken, then the connection drops
``slow-*``      final dot: taken after 2 s
``stall-*``     final dot: no reply ever, not taken
==============  =====================================================================

A **sender** ``dropmail*`` drops the connection at MAIL.

Faults for everybody, from the next command on, also in open connections: ``sink.fail(mail="452 4.3.1 Disk full")``;
steps are ``greeting``, ``ehlo``, ``starttls``, ``auth``, ``mail``, ``rcpt``, ``data``, ``message`` (the final dot) and
``taken`` (after the message is in the spool); a fault is a reply, ``drop``, ``reset`` (RST instead of FIN), ``stall``,
``stall SECONDS`` (then a drop), ``wait SECONDS`` (then all is well) or ``hold`` (until healed). A reply that begins
with 421 closes the connection too. With ``share="0.3"`` each step fails three times of ten. ``sink.fail()`` heals all.
"""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from email.message import EmailMessage

_SERVER = Path(__file__).with_name("smtp_sink_server.py")
_STARTING = 15.0


@dataclass(frozen=True)
class Received:
    """A message that the sink took, as it came over the wire (dots unstuffed)."""

    at: datetime
    envelope_from: str
    mail_options: tuple[str, ...]
    recipients: tuple[str, ...]
    raw: bytes
    message_id: str | None
    peer: tuple[Any, ...]
    tls: bool
    user: str | None

    @cached_property
    def parsed(self) -> EmailMessage:
        """The message as Python's parser reads it."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)


class SmtpSink:
    """See the module. `security` is ``none``, ``starttls`` or ``tls``; with a username every client must log in."""

    host = "127.0.0.1"

    def __init__(
        self,
        folder: Path,
        *,
        security: str = "none",
        username: str = "",
        password: str = "",
        size_limit: int = 64 * 2**20,
        certificate_names: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> None:
        """Keep spool, log and certificate in `folder`, which must exist and be this sink's alone."""
        self.port = 0
        self.ca_file = folder / "ca.pem"
        self._folder = folder
        self._spool = folder / "spool.jsonl"
        self._connections = folder / "connections"
        self._silences = folder / "silences.jsonl"
        self._control = folder / "control.json"
        self._certificate = folder / "server.pem"
        self._settings = {
            "host": self.host,
            "security": security,
            "username": username,
            "password": password,
            "size_limit": size_limit,
            "spool": str(self._spool),
            "connections": str(self._connections),
            "silences": str(self._silences),
            "control": str(self._control),
            "certificate": str(self._certificate),
        }
        self._process: subprocess.Popen[str] | None = None
        self._read_to = 0
        self._received: list[Received] = []
        self._forgotten_connections = 0
        if security != "none":
            self._issue_certificate(certificate_names)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Listen: on a free port the first time, on the same ever after."""
        assert self._process is None, "the sink runs already"
        command = [sys.executable, str(_SERVER), json.dumps(self._settings | {"port": self.port})]
        deadline = time.monotonic() + _STARTING
        while not self._launch(command):
            assert time.monotonic() < deadline, f"the sink does not start: {self._log.read_text()[-2000:]}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it with SIGTERM; open connections are cut."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL, if it runs."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def fail(self, **faults: str) -> None:
        """Let these steps fail from now on, and all others succeed; see the module."""
        draft = self._control.with_suffix(".new")
        draft.write_text(json.dumps(faults))
        draft.replace(self._control)

    def messages(self) -> list[Received]:
        """Return what was taken so far, in order."""
        if self._spool.exists():
            with self._spool.open("rb") as spool:
                spool.seek(self._read_to)
                for line in spool:
                    if not line.endswith(b"\n"):
                        break
                    self._read_to += len(line)
                    self._received.append(_received(json.loads(line)))
        return list(self._received)

    def silences(self) -> list[str | None]:
        """Return the Message-ID of each message that got no reply, by a drop, reset or stall after its final dot."""
        lines = self._silences.read_text().splitlines() if self._silences.exists() else []
        return [json.loads(line)["message_id"] for line in lines]

    async def wait_for(self, count: int, timeout: float = 10.0) -> list[Received]:
        """Return what was taken as soon as that is at least `count` messages; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while len(self.messages()) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"the sink took {len(self._received)} messages, not {count}, in {timeout} s")
            await asyncio.sleep(0.01)
        return self.messages()

    def connections(self) -> int:
        """Return how many connections were made so far."""
        return self._connection_marks() - self._forgotten_connections

    def clear(self) -> None:
        """Forget messages and connections until now, and heal all faults."""
        self.fail()
        self.messages()
        self._received.clear()
        self._forgotten_connections = self._connection_marks()

    @property
    def _log(self) -> Path:
        return self._folder / "sink.log"

    def _connection_marks(self) -> int:
        return self._connections.stat().st_size if self._connections.exists() else 0

    def _launch(self, command: list[str]) -> bool:
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        port = process.stdout.readline()
        if not port:  # the port may be taken for a moment
            process.wait()
            return False
        self._process, self.port = process, int(port)
        return True

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _issue_certificate(self, names: tuple[str, ...]) -> None:
        import trustme

        authority = trustme.CA()
        authority.cert_pem.write_to_path(os.fspath(self.ca_file))
        authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(os.fspath(self._certificate))


def _received(line: dict[str, Any]) -> Received:
    return Received(
        at=datetime.fromtimestamp(line["at"], UTC),
        envelope_from=line["mail_from"],
        mail_options=tuple(line["mail_options"]),
        recipients=tuple(line["rcpt_to"]),
        raw=base64.b64decode(line["message"]),
        message_id=line["message_id"],
        peer=tuple(line["peer"]),
        tls=line["tls"],
        user=line["user"],
    )
