"""A client of an accepter: makes its calls in order, and records each request and answer in a journal.

The journal is written before and after each call. It is memory backed by a file, so its content survives the process
and needs no further room when the disk is full.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chaos.tempo import Tempo

from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.errors import OutspoolError, StoreUnavailable
from outspool.ports.clock import Clock
from outspool.services.acceptance.outbox import Outbox
from outspool.services.acceptance.validation import EmailRequest

_AGAIN_SECONDS = 0.15
_TRIES = 40
"""How often a call that the database could not serve is made again; some six seconds."""

_SIZE = 2**20
"""Of a journal, in bytes: far more than a trial's calls take."""


class Journal:
    """The append-only record of one accepter's calls, kept over its deaths."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Read what former processes wrote, and go on behind it."""
        self._clock = clock
        self.last: dict[int, dict[str, Any]] = {}
        entries, self._end = read_journal(path)
        for entry in entries:
            self.last[entry["step"]] = entry
        with path.open("r+b") as file:
            file.truncate(_SIZE)
            self._memory = mmap.mmap(file.fileno(), _SIZE)

    def write(self, step: int, **entry: Any) -> None:
        """Add a line."""
        self.last[step] = {"step": step, **entry}
        line = json.dumps({"at": self._clock.now().isoformat(), **self.last[step]}).encode() + b"\n"
        self._memory[self._end : self._end + len(line)] = line
        self._end += len(line)


def read_journal(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a journal, and where they end; make it when there is none."""
    path.touch()
    written = path.read_bytes().partition(b"\0")[0]
    end = written.rfind(b"\n") + 1
    return [json.loads(line) for line in written[:end].splitlines()], end


class Caller:
    """One client with its steps. A stop lets the call under way end, and begins no other."""

    def __init__(self, outbox: Outbox, journal: Journal, tempo: Tempo) -> None:
        """Make the calls of `outbox`, and write them into `journal`."""
        self._outbox = outbox
        self._journal = journal
        self._tempo = tempo
        self.is_stopped = False

    async def take(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Take every step that is not taken yet, in order, none before its time."""
        for step in steps:
            if not self._is_taken(step):
                await self._until(step["at"])
                if self.is_stopped:
                    return
                await self._take(step)

    async def _until(self, moment: float) -> None:
        while not self.is_stopped and (left := moment - self._tempo.now()) > 0:
            await self._tempo.rest(min(left, 0.1))

    def _is_taken(self, step: Mapping[str, Any]) -> bool:
        """Whether there is an answer, or nobody could tell which email a second call would be about."""
        last = self._journal.last.get(step["number"])
        if last is None:
            return False
        was_asked_only = "asked" in last
        return not was_asked_only or (step["do"] == "accept" and step["key"] is None)

    async def _take(self, step: Mapping[str, Any]) -> None:
        number = step["number"]
        for _ in range(_TRIES):
            self._journal.write(number, do=step["do"], asked=True, **_wanted(step))
            try:
                email = await self._ask(step)
            except OutspoolError as error:
                in_doubt = isinstance(error, StoreUnavailable) and error.in_doubt
                answer = {"error": error.code, "in_doubt": in_doubt, "message": error.message}
                self._journal.write(number, do=step["do"], **_wanted(step), **answer)
                may_ask_again = not in_doubt or step["key"] is not None or step["do"] != "accept"
                if not isinstance(error, StoreUnavailable) or not may_ask_again or self.is_stopped:
                    return
                await self._tempo.rest(_AGAIN_SECONDS)
            else:
                about = str(email.id) if email is not None else None
                self._journal.write(number, do=step["do"], id=about, **_wanted(step))
                return

    async def _ask(self, step: Mapping[str, Any]) -> Email | None:
        when = When(delay=step["delay"]) if step["delay"] else None
        if step["do"] == "accept":
            return await self._outbox.accept(EmailRequest(**step["draft"]), when=when, idempotency_key=step["key"])
        email_id = await self._meant(step)
        if email_id is None:
            return None
        if step["do"] == "cancel":
            return await self._outbox.cancel(email_id)
        if step["do"] == "update":
            return await self._outbox.update(email_id, {"subject": _wanted(step)["subject"]}, when=when)
        return await self._outbox.retry(email_id)

    async def _meant(self, step: Mapping[str, Any]) -> str | None:
        """Return the email that a step is about: that of a former step, or any that may be retried."""
        if step["do"] != "retry_any":
            id_: str | None = self._journal.last.get(step["of"], {}).get("id")
            return id_
        for status in ("unknown", "failed", "partial"):
            listing = await self._outbox.find(status=status, limit=1)
            if listing.emails:
                return str(listing.emails[0].id)
        return None


def _wanted(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the checker must know of a step."""
    if step["do"] == "accept":
        return {"subject": step["draft"]["subject"], "key": step["key"]}
    return {"subject": f"update {step['number']}"} if step["do"] == "update" else {}
