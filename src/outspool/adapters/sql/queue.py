"""`Queue` on SQLAlchemy Core: claim, mark, heartbeat and rescue, the same statements on SQLite and on Postgres."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.claims import (
    CLAIM,
    CLAIM_LOST,
    DOUBT,
    DOUBT_RECIPIENTS,
    EXTEND,
    NEXT_DUE,
    REQUEUE,
)
from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.loading import with_parts
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.status_writer import Marking, StatusWriter
from outspool.adapters.sql.tables import UtcDateTime, workers
from outspool.adapters.sql.watch import ChangeWatch
from outspool.domain.cap import quota_reached
from outspool.domain.email import Email, Event, Priority
from outspool.domain.status import EmailStatus
from outspool.ports.queue import Lease, Room, WorkerHeartbeat

_FORGOTTEN = timedelta(days=1)
"""After this nobody asks any more when a worker that was killed was last seen."""


class SqlQueue:
    """The waiting emails of one database."""

    def __init__(
        self, database: MigratedDatabase, changes: ChangeWatch, status_writer: StatusWriter, *, identity: str
    ) -> None:
        """Share the database and its status writer with the store. Claim only the emails of `identity` (an address)."""
        self.database = database
        self._changes = changes
        self._status_writer = status_writer
        self._identity = identity

    async def claim_due(self, lease: Lease, *, now: datetime, limit: int, deferred_too: bool) -> Sequence[Email]:
        """See `Queue.claim_due`."""
        asked = {"identity": self._identity, "now": now, "most": limit, "token": lease.token, "until": lease.until}

        def take(connection: sa.Connection) -> list[Email]:
            rows = connection.execute(CLAIM[deferred_too], asked).mappings().all()
            rows = sorted(rows, key=_turn)
            _note(connection, rows, Event(at=now, status=EmailStatus.SENDING, code="claimed"))
            return with_parts(connection, rows)

        return await self.database.write(take)

    async def mark(self, email_id: UUID, lease: Lease, *, at: datetime, recipients: int) -> bool:
        """See `Queue.mark`."""
        writer = self._status_writer
        try:
            return await writer.mark(Marking(email_id, lease, at, recipients))
        except sql_meter.CapReached as reached:
            await sql_meter.mend(self.database, writer.meter, reached, now=at)
            assert writer.quota is not None
            raise quota_reached(writer.quota, until=reached.at) from None

    async def room(self, *, now: datetime) -> Room:
        """See `Queue.room`."""
        meter, quota = self._status_writer.meter, self._status_writer.quota
        if quota is None:
            return Room()
        free, until = await self.database.read(lambda connection: sql_meter.room(connection, meter, quota, now=now))
        return Room(recipients=free, reached=None if until is None else quota_reached(quota, until=until))

    async def heartbeat(
        self, leases: Collection[UUID], *, until: datetime, worker: str, at: datetime
    ) -> timedelta | None:
        """See `Queue.heartbeat`."""
        asked = time.monotonic()

        def beat(connection: sa.Connection) -> timedelta | None:
            if leases:
                connection.execute(EXTEND, {"tokens": list(leases), "until": until})
            clock = _clock_of(connection)
            skew = None if clock is None else at + timedelta(seconds=time.monotonic() - asked) - clock
            _sight(connection, worker, at, skew)
            connection.execute(workers.delete().where(workers.c.seen_at < at - _FORGOTTEN))
            return skew

        return await self.database.write(beat)

    async def retire(self, worker: str) -> None:
        """See `Queue.retire`."""
        gone = workers.delete().where(workers.c.name == worker)
        await self.database.write(lambda connection: connection.execute(gone))

    async def rescue(self, *, now: datetime, resend_marked: bool) -> int:
        """See `Queue.rescue`."""

        def release(connection: sa.Connection) -> int:
            queued = connection.execute(REQUEUE[resend_marked], {"now": now}).mappings().all()
            _note(connection, queued, Event(at=now, status=EmailStatus.QUEUED, code="rescued"))
            unknown = connection.execute(DOUBT, {"now": now}).mappings().all()
            lost = Event(at=now, status=EmailStatus.UNKNOWN, code=CLAIM_LOST.code, detail=CLAIM_LOST.message)
            _note(connection, unknown, lost)
            if unknown:
                connection.execute(DOUBT_RECIPIENTS, {"ids": [row["id"] for row in unknown]})
            if queued:
                self._changes.notify(connection)
            return len(queued) + len(unknown)

        freed = await self.database.write(release)
        if freed:
            self._changes.announce(due=True)
        return freed

    async def next_due(self, *, after: datetime, deferred_too: bool) -> datetime | None:
        """See `Queue.next_due`."""
        asked = {"identity": self._identity, "now": after}
        at: datetime | None = await self.database.read(
            lambda connection: connection.scalar(NEXT_DUE[deferred_too], asked)
        )
        return at

    async def workers(self, *, since: datetime) -> Sequence[WorkerHeartbeat]:
        """See `Queue.workers`."""
        statement = sa.select(workers).where(workers.c.seen_at >= since).order_by(workers.c.name)
        rows = await self.database.read(lambda connection: connection.execute(statement).mappings().all())
        return [
            WorkerHeartbeat(
                name=row["name"],
                seen_at=row["seen_at"],
                skew=None if row["skew_seconds"] is None else timedelta(seconds=row["skew_seconds"]),
            )
            for row in rows
        ]


def _clock_of(connection: sa.Connection) -> datetime | None:
    """Return what the database's own clock says; SQLite has none but ours."""
    if connection.dialect.name != "postgresql":
        return None
    clock: datetime = connection.execute(sa.select(sa.func.clock_timestamp(type_=UtcDateTime))).scalar_one()
    return clock


def _sight(connection: sa.Connection, worker: str, at: datetime, skew: timedelta | None) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    seen = {"seen_at": at, "skew_seconds": None if skew is None else skew.total_seconds()}
    sighting = insert(workers).values(name=worker, **seen)
    connection.execute(sighting.on_conflict_do_update(index_elements=["name"], set_=seen))


def _turn(row: sa.RowMapping) -> tuple[datetime, datetime, UUID]:
    return row["due_at"] + Priority(row["priority"]).delay, row["due_at"], row["id"]


def _note(connection: sa.Connection, rows: Sequence[sa.RowMapping], event: Event) -> None:
    """Add the same event to each of these emails."""
    add_events(connection, [(row["id"], event) for row in rows])
