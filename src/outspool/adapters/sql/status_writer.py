"""Writes marks and status changes of emails, grouped into shared commits.

The outcome of one delivery, the mark of the next and a caller's cancellation that arrive together share a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.claims import MARK
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.recording import Recording, record_all
from outspool.adapters.sql.watch import ChangeWatch
from outspool.domain.cap import Cap
from outspool.domain.status import EmailStatus
from outspool.ports.queue import Lease


@dataclass(frozen=True, slots=True)
class Marking:
    """A mark to write: `recipients` of the email, held under `lease`, are about to be sent the message."""

    email_id: UUID
    lease: Lease
    at: datetime
    recipients: int


class StatusWriter:
    """Writes marks and transitions, each under its guards."""

    def __init__(self, database: Database, changes: ChangeWatch, *, meter: str, quota: Cap | None) -> None:
        """Count recipients of marked emails on `meter`, at most `quota`."""
        self.database = database
        self.meter = meter
        self.quota = quota
        self._changes = changes

    async def mark(self, marking: Marking) -> bool:
        """Mark an email; False if its lease is lost. Raises `CapReached` at the quota, and `StoreUnavailable`."""
        return await self.database.write_batched(self._write_all, marking)

    async def record(self, recording: Recording) -> bool:
        """Record a transition; False if its guards forbid it. Raises `StoreUnavailable`."""
        return await self.database.write_batched(self._write_all, recording)

    def _write_all(self, connection: sa.Connection, requests: Sequence[Marking | Recording]) -> list[bool]:
        markings = [one for one in requests if isinstance(one, Marking)]
        recordings = [one for one in requests if isinstance(one, Recording)]
        recorded = iter(record_all(connection, recordings))
        if any(one.change.target is EmailStatus.QUEUED for one in recordings):
            self._changes.notify(connection)
        marked = iter(self._mark_all(connection, markings))
        return [next(marked if isinstance(one, Marking) else recorded) for one in requests]

    def _mark_all(self, connection: sa.Connection, asked: Sequence[Marking]) -> list[bool]:
        if not asked:
            return []
        now = max(one.at for one in asked)
        held = {
            "ids": [one.email_id for one in asked],
            "tokens": list({one.lease.token for one in asked}),
            "until": max(one.lease.until for one in asked),
            "now": now,
        }
        marked = {(row.id, row.lease) for row in connection.execute(MARK, held)}
        answers = [(one.email_id, one.lease.token) in marked for one in asked]
        leaving = sum(one.recipients for one, is_marked in zip(asked, answers, strict=True) if is_marked)
        if self.quota is not None and leaving:
            sql_meter.take(connection, self.meter, leaving, self.quota, now=now)
        return answers
