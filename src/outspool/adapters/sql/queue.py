"""The `Queue` port: claim, mark, heartbeat and rescue, the same statements on SQLite and Postgres."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.aside import read_setting_aside, warn_of, write_setting_aside
from outspool.adapters.sql.claims import (
    CLAIM,
    CLAIM_IDS,
    CLAIM_LOST,
    CLAMP,
    DOUBT,
    DOUBT_RECIPIENTS,
    EXTEND,
    FIRST_OF_EACH,
    NEXT_DUE,
    REQUEUE,
)
from outspool.adapters.sql.clock import DatabaseClock
from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.loading import read_alone, read_emails
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.status_writer import Marking, StatusWriter
from outspool.adapters.sql.tables import UtcDateTime, emails, workers
from outspool.adapters.sql.unreadable import Damage, is_unreadable, set_aside
from outspool.adapters.sql.watch import ChangeWatch
from outspool.adapters.uuid7 import time_of
from outspool.domain.cap import describe_full_quota, quota_error
from outspool.domain.email import Email, Event, Priority
from outspool.domain.status import EmailStatus
from outspool.ports.queue import Expiry, Lease, Room, WorkerHeartbeat

_HEARTBEAT_RETENTION = timedelta(days=1)
"""Heartbeats of killed workers are deleted after this."""

_SOON = timedelta(minutes=1)
_CLAMPED_DETAIL = "A clock that was wrong had put it off; it is due now."


class SqlQueue:
    """The waiting emails of one database."""

    def __init__(
        self,
        database: MigratedDatabase,
        changes: ChangeWatch,
        status_writer: StatusWriter,
        *,
        identity: str,
        clock: DatabaseClock | None = None,
    ) -> None:
        """Use the store's database and status writer. Claim only emails of `identity` (an address).

        `clock` learns the database's time with every heartbeat.
        """
        self._clock = clock
        self.database = database
        self._changes = changes
        self._status_writer = status_writer
        self._identity = identity

    async def claim_due(
        self, lease: Lease, *, now: datetime, limit: int, deferred_too: bool, expiry: Expiry = Expiry.ALL
    ) -> Sequence[Email]:
        """See `Queue.claim_due`."""
        statement_key = deferred_too, expiry
        parameters = {"identity": self._identity, "now": now, "most": limit, "token": lease.token, "until": lease.until}

        def take(connection: sa.Connection) -> list[Email]:
            rows = connection.execute(CLAIM[statement_key], parameters).mappings().all()
            return _add_claim_events(connection, read_emails(connection, rows), now)

        try:
            return await self.database.write(take)
        except Exception as error:
            if not is_unreadable(error):
                raise
        return await self._claim_one_by_one(parameters, now=now, limit=limit, statement_key=statement_key)

    async def _claim_one_by_one(
        self, parameters: dict[str, Any], *, now: datetime, limit: int, statement_key: tuple[bool, Expiry]
    ) -> Sequence[Email]:
        """Claim ids, read each row separately, and set aside unreadable ones; claim others in their place."""
        claimed: list[Email] = []

        def take(connection: sa.Connection) -> tuple[list[Email], list[Damage]]:
            remaining = {**parameters, "most": limit - len(claimed)}
            emails, damaged = [], []
            for raw_id in connection.execute(CLAIM_IDS[statement_key], remaining).scalars().all():
                email = read_alone(connection, raw_id)
                if email is None or email.unreadable:
                    damage = Damage(raw_id, email.unreadable if email else "Its id is none.")
                    set_aside(connection, damage, at=now)
                    damaged.append(damage)
                else:
                    emails.append(email)
            return _add_claim_events(connection, emails, now), damaged

        while len(claimed) < limit:
            emails, damaged = await self.database.write(take)
            claimed += emails
            for damage in damaged:
                warn_of(damage)
            if not damaged:
                break
        return claimed

    async def mark(self, email_id: UUID, lease: Lease, *, at: datetime, recipients: int) -> bool:
        """See `Queue.mark`."""
        writer = self._status_writer
        try:
            return await writer.mark(Marking(email_id, lease, at, recipients))
        except sql_meter.CapReached as reached:
            await sql_meter.mend(self.database, writer.meter, reached, now=at)
            assert writer.quota is not None
            raise quota_error(describe_full_quota(writer.quota, until=reached.at)) from None

    async def room(self, *, now: datetime) -> Room:
        """See `Queue.room`."""
        meter, quota = self._status_writer.meter, self._status_writer.quota
        if quota is None:
            return Room()
        free, until = await self.database.read(
            lambda connection: sql_meter.count_room(connection, meter, quota, now=now)
        )
        return Room(recipients=free, full=None if until is None else describe_full_quota(quota, until=until))

    async def heartbeat(
        self, leases: Collection[UUID], *, until: datetime, worker: str, at: datetime, is_temporary: bool = False
    ) -> timedelta | None:
        """See `Queue.heartbeat`."""
        started = time.monotonic()

        def beat(connection: sa.Connection) -> timedelta | None:
            if leases:
                connection.execute(EXTEND, {"tokens": list(leases), "until": until})
            skew = self._skew(connection, at + timedelta(seconds=time.monotonic() - started))
            beat_of_worker = WorkerHeartbeat(
                name=worker, seen_at=at, skew=skew, identity=self._identity, is_temporary=is_temporary
            )
            _store_heartbeat(connection, beat_of_worker)
            connection.execute(workers.delete().where(workers.c.seen_at < at - _HEARTBEAT_RETENTION))
            return skew

        return await self.database.write(beat)

    def _skew(self, connection: sa.Connection, at: datetime) -> timedelta | None:
        """Return how far the clock that gave `at` is ahead of the database's; None on SQLite, which has no clock."""
        clock = self._clock
        before = 0.0 if clock is None else clock.elapsed()
        database_time = _read_clock(connection)
        if database_time is None:
            return None
        if clock is None:
            return at - database_time
        clock.learn(database_time, asked_at=before, answered_at=clock.elapsed())
        return clock.skew()

    async def retire(self, worker: str) -> None:
        """See `Queue.retire`."""
        deletion = workers.delete().where(workers.c.name == worker)
        await self.database.write(lambda connection: connection.execute(deletion))

    async def rescue(self, *, now: datetime, resend_marked: bool) -> int:
        """See `Queue.rescue`."""

        def release(connection: sa.Connection) -> int:
            queued = connection.execute(REQUEUE[resend_marked], {"now": now}).mappings().all()
            _add_same_event(connection, queued, Event(at=now, status=EmailStatus.QUEUED, code="rescued"))
            unknown = connection.execute(DOUBT, {"now": now}).mappings().all()
            lost = Event(at=now, status=EmailStatus.UNKNOWN, code=CLAIM_LOST.code, detail=CLAIM_LOST.message)
            _add_same_event(connection, unknown, lost)
            if unknown:
                connection.execute(DOUBT_RECIPIENTS, {"ids": [row["id"] for row in unknown]})
            if queued:
                self._changes.notify(connection)
            return len(queued) + len(unknown)

        freed = await write_setting_aside(self.database, release, now=now)
        if freed:
            self._changes.announce(due=True)
        return freed

    async def next_due(self, *, after: datetime, deferred_too: bool) -> datetime | None:
        """See `Queue.next_due`."""
        parameters = {"identity": self._identity, "now": after}

        def select(connection: sa.Connection) -> datetime | None:
            at: datetime | None = connection.scalar(NEXT_DUE[deferred_too], parameters)
            return at

        return await read_setting_aside(self.database, select, now=after)

    async def first_turn(self, *, now: datetime) -> datetime | None:
        """See `Queue.first_turn`."""
        parameters = {"identity": self._identity, "now": now}

        def select(connection: sa.Connection) -> datetime | None:
            firsts = ((p, connection.scalar(FIRST_OF_EACH[p.rank], parameters)) for p in Priority)
            return min((due_at + priority.delay for priority, due_at in firsts if due_at is not None), default=None)

        return await read_setting_aside(self.database, select, now=now)

    async def last_trace(self) -> datetime | None:
        """See `Queue.last_trace`."""

        def select(connection: sa.Connection) -> datetime | None:
            newest = connection.scalar(sa.select(emails.c.id).order_by(emails.c.id.desc()).limit(1))
            columns = connection.scalar(sa.select(sa.func.max(workers.c.seen_at)))
            return max((at for at in (newest and time_of(newest), columns) if at), default=None)

        try:
            return await self.database.read(select)
        except Exception as error:
            if not is_unreadable(error):
                raise
            return None

    async def clamp(self, *, now: datetime, furthest: datetime) -> int:
        """See `Queue.clamp`."""
        parameters = {"identity": self._identity, "now": now, "soon": now + _SOON, "furthest": furthest}

        def apply(connection: sa.Connection) -> int:
            rows = connection.execute(CLAMP, parameters).mappings().all()
            add_events(
                connection,
                [
                    (
                        row["id"],
                        Event(at=now, status=EmailStatus(row["status"]), code="clamped", detail=_CLAMPED_DETAIL),
                    )
                    for row in rows
                ],
            )
            return len(rows)

        return await write_setting_aside(self.database, apply, now=now)

    async def workers(self, *, since: datetime) -> Sequence[WorkerHeartbeat]:
        """See `Queue.workers`."""
        statement = sa.select(workers).where(workers.c.seen_at >= since).order_by(workers.c.name)
        try:
            return await self.database.read(lambda connection: _read_heartbeats(connection, statement))
        except Exception as error:
            if not is_unreadable(error):
                raise
        # Skip an unreadable row: the worker's next heartbeat overwrites it.
        names = await self.database.read(
            lambda connection: connection.execute(statement.with_only_columns(workers.c.name)).scalars().all()
        )
        found: list[WorkerHeartbeat] = []
        for name in names:
            one_row = statement.where(workers.c.name == name)
            try:
                found += await self.database.read(lambda connection, row=one_row: _read_heartbeats(connection, row))  # type: ignore[misc]
            except Exception as error:
                if not is_unreadable(error):
                    raise
        return found


def _read_heartbeats(connection: sa.Connection, statement: sa.Select[Any]) -> list[WorkerHeartbeat]:
    return [
        WorkerHeartbeat(
            name=row["name"],
            seen_at=row["seen_at"],
            skew=None if row["skew_seconds"] is None else timedelta(seconds=row["skew_seconds"]),
            identity=row["identity"] or "",
            is_temporary=bool(row["is_temporary"]),
        )
        for row in connection.execute(statement).mappings()
    ]


def _add_claim_events(connection: sa.Connection, emails: Sequence[Email], now: datetime) -> list[Email]:
    """Add a ``claimed`` event to each; return the emails in their turn."""
    if emails:
        event = Event(at=now, status=EmailStatus.SENDING, code="claimed")
        add_events(connection, [(email.id, event) for email in emails])
    return sorted(emails, key=_turn_key)


def _read_clock(connection: sa.Connection) -> datetime | None:
    """Return the database's time; None on SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    clock: datetime = connection.execute(sa.select(sa.func.clock_timestamp(type_=UtcDateTime))).scalar_one()
    return clock


def _store_heartbeat(connection: sa.Connection, beat: WorkerHeartbeat) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    columns = {
        "seen_at": beat.seen_at,
        "skew_seconds": None if beat.skew is None else beat.skew.total_seconds(),
        "identity": beat.identity,
        "is_temporary": beat.is_temporary,
    }
    statement = insert(workers).values(name=beat.name, **columns)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=columns))


def _turn_key(email: Email) -> tuple[datetime, datetime, UUID]:
    return email.due_at + email.content.priority.delay, email.due_at, email.id


def _add_same_event(connection: sa.Connection, rows: Sequence[sa.RowMapping], event: Event) -> None:
    """Add `event` to each of these emails."""
    add_events(connection, [(row["id"], event) for row in rows])
