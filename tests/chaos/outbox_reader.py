"""Reads an outbox by plain SQL, without outspool: its progress, and its whole content at the end."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from chaos.records import StoredEmail, StoredEvent

from outspool.domain.status import EmailStatus, RecipientStatus

_OPEN = "SELECT id, status, due_at FROM emails WHERE status IN ('scheduled', 'queued', 'deferred', 'sending')"
_PAUSE = "SELECT max(paused_until) FROM accounts"
_EMAILS = (
    "SELECT id, status, message_id, subject, created_at, due_at, attempts, problem_code, idempotency_key"
    " FROM emails ORDER BY id"
)
_RECIPIENTS = "SELECT email_id, address, status FROM recipients ORDER BY email_id, position"
_EVENTS = "SELECT email_id, at, status, code FROM events ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Which emails are `sending`, how many should be claimed any moment, and when the `next` one comes due."""

    sending: tuple[str, ...]
    due: int
    next: datetime | None

    @property
    def is_idle(self) -> bool:
        """Whether nobody has anything to do right now."""
        return not self.sending and not self.due

    def __str__(self) -> str:
        """Return it in words."""
        return f"sending {', '.join(self.sending) or 'nothing'}, {self.due} due, next at {self.next}"


class OutboxReader:
    """See the module. Opened for each look: a trial's database may come and go."""

    def __init__(self, url: str) -> None:
        """Read the database of `url`, which must be that of the server, not of a proxy."""
        self._url = url

    async def progress(self, now: datetime) -> Progress:
        """Return how far the queue is."""
        async with self._rows(_OPEN, _PAUSE) as (waiting, [[pause]]):
            paused_until = None if pause is None else _time(pause)
        rests = paused_until is not None and paused_until > now
        due = 0
        sending: list[str] = []
        later: list[datetime] = []
        for email_id, status, due_at in waiting:
            if status == EmailStatus.SENDING:
                sending.append(str(email_id))
            elif _time(due_at) > now:
                later.append(_time(due_at))
            elif status == EmailStatus.DEFERRED and rests and paused_until:
                later.append(paused_until)
            else:
                due += 1
        return Progress(sending=tuple(sending), due=due, next=min(later, default=None))

    async def nudge(self) -> None:
        """Let every dispatcher look at the queue, as after any change."""
        if self._url.startswith("postgres"):
            async with self._rows("SELECT pg_notify('outspool', '')"):
                return
        with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"))) as connection:
            [nudges] = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {nudges + 1}")

    async def emails(self) -> tuple[StoredEmail, ...]:
        """Return every email, oldest first."""
        async with self._rows(_EMAILS, _RECIPIENTS, _EVENTS) as (rows, to, past):
            recipients: dict[Any, dict[str, RecipientStatus]] = defaultdict(dict)
            for email_id, address, status in to:
                recipients[email_id][address] = RecipientStatus(status)
            events: dict[Any, list[StoredEvent]] = defaultdict(list)
            for email_id, at, status, code in past:
                events[email_id].append(StoredEvent(at=_time(at), status=EmailStatus(status), code=code))
            return tuple(_email(row, recipients[row[0]], tuple(events[row[0]])) for row in rows)

    @asynccontextmanager
    async def _rows(self, *queries: str) -> AsyncIterator[Sequence[Sequence[Any]]]:
        if self._url.startswith("postgres"):
            connection = await asyncpg.connect(self._url)
            try:
                async with connection.transaction(isolation="repeatable_read"):
                    yield [await connection.fetch(query) for query in queries]
            finally:
                await connection.close()
            return
        with closing(sqlite3.connect(self._url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN")
            yield [connection.execute(query).fetchall() for query in queries]


def _email(row: Sequence[Any], to: dict[str, RecipientStatus], past: tuple[StoredEvent, ...]) -> StoredEmail:
    email_id, status, message_id, subject, created_at, due_at, attempts, problem, key = row
    return StoredEmail(
        id=str(email_id if isinstance(email_id, UUID) else UUID(email_id)),
        status=EmailStatus(status),
        message_id=message_id,
        subject=subject,
        created_at=_time(created_at),
        due_at=_time(due_at),
        recipients=to,
        events=past,
        attempts=attempts,
        problem=problem,
        key=key,
    )


def _time(value: str | datetime) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
