"""`Queue` on SQLAlchemy Core: claim, mark, heartbeat and rescue, the same statements on SQLite and on Postgres."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters import sql_meter
from outspool.adapters.sql_rows import event_values, problem_values
from outspool.adapters.sql_schema import MigratedDatabase
from outspool.adapters.sql_store import with_parts
from outspool.adapters.sql_tables import UtcDateTime, emails, events, recipients, workers
from outspool.adapters.sql_watch import ChangeWatch
from outspool.domain.cap import Cap, quota_reached
from outspool.domain.email import Email, Event, Problem
from outspool.domain.status import CLAIMABLE, EmailStatus, RecipientStatus
from outspool.ports import Lease, Room, WorkerSighting

_FORGOTTEN = timedelta(days=1)
"""After this nobody asks any more when a worker that was killed was last seen."""

CLAIM_LOST = Problem(
    code="worker_lost",
    message="The worker died after it began to hand the message over, so the server may or may not have it.",
    hint="Ask the recipient, or look into the account's sent mail, before you retry.",
)


class SqlQueue:
    """The waiting emails of one database."""

    def __init__(
        self, database: MigratedDatabase, changes: ChangeWatch, *, lane: str, account: str, quota: Cap | None
    ) -> None:
        """Share the database with the store; announce what changes. Only emails of `lane` are claimed.

        `account` names the SMTP account whose recipients `quota` limits, if it does.
        """
        self.database = database
        self._changes = changes
        self._lane = lane
        self._quota = quota
        self._meter = f"handed over {account}"

    async def claim_due(self, lease: Lease, *, now: datetime, limit: int, deferred_too: bool) -> Sequence[Email]:
        """See `Queue.claim_due`. The CTE is a fence: it is evaluated once, before the rows are locked."""
        due = (
            sa.select(emails.c.id)
            .where(self._claimable(now, deferred_too=deferred_too), emails.c.due_at <= now)
            .order_by(emails.c.rank, emails.c.due_at, emails.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        claim = (
            emails.update()
            .where(emails.c.id.in_(sa.select(due.c.id)))
            .values(
                status=EmailStatus.SENDING.value,
                version=emails.c.version + 1,
                lease=lease.token,
                lease_until=lease.until,
                marked_at=None,
            )
            .returning(*emails.c)
        )

        def take(connection: sa.Connection) -> list[Email]:
            rows = connection.execute(claim).mappings().all()
            rows = sorted(rows, key=lambda row: (row["rank"], row["due_at"], row["id"]))
            _note(connection, rows, Event(at=now, status=EmailStatus.SENDING, code="claimed"))
            return with_parts(connection, rows)

        return await self.database.write(take)

    async def mark(self, email_id: UUID, lease: Lease, *, at: datetime, recipients: int) -> bool:
        """See `Queue.mark`."""
        statement = (
            emails.update()
            .where(
                emails.c.id == email_id,
                emails.c.status == EmailStatus.SENDING.value,
                emails.c.lease == lease.token,
                emails.c.lease_until > at,
            )
            .values(marked_at=at, lease_until=lease.until)
            .returning(emails.c.id)
        )

        def set_mark(connection: sa.Connection) -> bool:
            if connection.scalar(statement) is None:
                return False
            if self._quota is not None:
                sql_meter.take(connection, self._meter, recipients, self._quota, now=at)
            return True

        try:
            return await self.database.write(set_mark)
        except sql_meter.CapReached as reached:
            await sql_meter.mend(self.database, self._meter, reached, now=at)
            assert self._quota is not None
            raise quota_reached(self._quota, until=reached.at) from None

    async def room(self, *, now: datetime) -> Room:
        """See `Queue.room`."""
        quota = self._quota
        if quota is None:
            return Room()
        free, until = await self.database.read(
            lambda connection: sql_meter.room(connection, self._meter, quota, now=now)
        )
        return Room(recipients=free, reached=None if until is None else quota_reached(quota, until=until))

    async def heartbeat(
        self, leases: Collection[UUID], *, until: datetime, worker: str, at: datetime
    ) -> timedelta | None:
        """See `Queue.heartbeat`."""
        asked = time.monotonic()
        extension = (
            emails.update()
            .where(emails.c.status == EmailStatus.SENDING.value, emails.c.lease.in_(leases))
            .values(lease_until=until)
        )

        def beat(connection: sa.Connection) -> timedelta | None:
            if leases:
                connection.execute(extension)
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
        free = {"version": emails.c.version + 1, "lease_until": None}
        requeue = (
            emails.update()
            .where(_of_the_dead(now, emails.c.marked_at.is_(None) if not resend_marked else sa.true()))
            .values(status=EmailStatus.QUEUED.value, lease=None, marked_at=None, **free)
            .returning(emails.c.id)
        )
        # The lease's token stays: should its worker still live and learn the outcome, it may settle the doubt.
        doubt = (
            emails.update()
            .where(_of_the_dead(now, emails.c.marked_at.is_not(None)))
            .values(status=EmailStatus.UNKNOWN.value, **problem_values(CLAIM_LOST), **free)
            .returning(emails.c.id)
        )

        def release(connection: sa.Connection) -> int:
            queued = connection.execute(requeue).mappings().all()
            _note(connection, queued, Event(at=now, status=EmailStatus.QUEUED, code="rescued"))
            unknown = connection.execute(doubt).mappings().all()
            lost = Event(at=now, status=EmailStatus.UNKNOWN, code=CLAIM_LOST.code, detail=CLAIM_LOST.message)
            _note(connection, unknown, lost)
            _doubt_recipients(connection, [row["id"] for row in unknown])
            if queued:
                self._changes.notify(connection)
            return len(queued) + len(unknown)

        freed = await self.database.write(release)
        if freed:
            self._changes.announce(due=True)
        return freed

    async def next_due(self, *, after: datetime, deferred_too: bool) -> datetime | None:
        """See `Queue.next_due`."""
        statement = sa.select(sa.func.min(emails.c.due_at)).where(
            self._claimable(after, deferred_too=deferred_too), emails.c.due_at > after
        )
        at: datetime | None = await self.database.read(lambda connection: connection.scalar(statement))
        return at

    async def workers(self, *, since: datetime) -> Sequence[WorkerSighting]:
        """See `Queue.workers`."""
        statement = sa.select(workers).where(workers.c.seen_at >= since).order_by(workers.c.name)
        rows = await self.database.read(lambda connection: connection.execute(statement).mappings().all())
        return [
            WorkerSighting(
                name=row["name"],
                seen_at=row["seen_at"],
                skew=None if row["skew_seconds"] is None else timedelta(seconds=row["skew_seconds"]),
            )
            for row in rows
        ]

    def _claimable(self, now: datetime, *, deferred_too: bool) -> sa.ColumnElement[bool]:
        """What a claim may take; with the account at rest, of the deferred only those that are out of time."""
        # Literal statuses, so that Postgres sees the partial index fit.
        waiting = emails.c.status.in_([sa.literal_column(f"'{s}'") for s in sorted(CLAIMABLE)])
        # Whose own outspool never comes must still end some day, so what is out of time is anybody's to end.
        ours = sa.and_(waiting, sa.or_(emails.c.lane == self._lane, emails.c.expires_at <= now))
        if deferred_too:
            return ours
        return sa.and_(ours, sa.or_(emails.c.status != EmailStatus.DEFERRED.value, emails.c.expires_at <= now))


def _of_the_dead(now: datetime, *also: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """What nobody holds any more. A row that its worker is at this moment writing is left for the next time."""
    dead = (
        sa.select(emails.c.id)
        .where(emails.c.status == EmailStatus.SENDING.value, emails.c.lease_until <= now, *also)
        .with_for_update(skip_locked=True)
        .cte("dead")
    )
    return emails.c.id.in_(sa.select(dead.c.id))


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


def _note(connection: sa.Connection, rows: Sequence[sa.RowMapping], event: Event) -> None:
    """Add the same event to each of these emails."""
    if rows:
        connection.execute(events.insert(), [event_values(row["id"], event) for row in rows])


def _doubt_recipients(connection: sa.Connection, ids: Sequence[UUID]) -> None:
    """Set every recipient that was still owed to ``unknown``: any of them may have been served."""
    owed = recipients.c.status.in_([RecipientStatus.PENDING.value, RecipientStatus.DEFERRED.value])
    connection.execute(
        recipients.update().where(recipients.c.email_id.in_(ids), owed).values(status=RecipientStatus.UNKNOWN.value)
    )
