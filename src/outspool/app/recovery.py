"""Backs up and restores an SQLite outbox; emails that may have been sent since the backup become ``unknown``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from outspool.adapters.sql.aside import set_all_aside
from outspool.adapters.sql.claims import DOUBT_RECIPIENTS
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.loading import emails_of
from outspool.adapters.sql.rows import problem_values
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.series import SqlSeries
from outspool.adapters.sql.sqlite_backup import fold_in, put_in_place, stage_restore, take_backup
from outspool.adapters.sql.tables import emails, workers
from outspool.adapters.sql.watch import ChangeWatch
from outspool.adapters.system_clock import SystemClock
from outspool.adapters.uuid7 import new_id
from outspool.app.settings import Settings
from outspool.domain.cap import HOUR, Cap
from outspool.domain.email import Event, Problem
from outspool.domain.series import Series
from outspool.domain.status import CLAIMABLE, EmailStatus, RecipientStatus
from outspool.errors import MisconfiguredError, StoreUnavailable
from outspool.services.acceptance.series import advance_series, make_occurrence

_RESTORED = Problem(
    code="restored",
    message="A backup was restored, and this email had come due since it was taken: it may have been sent, or not.",
    hint="Ask the recipient, or look into the account's sent mail, before you retry.",
)
_ALIVE = timedelta(seconds=30)
_UNLIMITED = Cap(most=10**9, window=HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The result of a restore: time of the backup, number of doubtful emails, path of the old outbox."""

    taken_at: datetime
    doubtful: int
    old: Path | None


async def back_up(settings: Settings, target: Path) -> None:
    """Copy the outbox to `target` while it is in use. Raises `MisconfiguredError` on Postgres, `InvalidArgument`."""
    await asyncio.to_thread(take_backup, _file(settings), target, now=SystemClock().now())


async def restore(settings: Settings, backup: Path) -> Restored:
    """Replace the outbox by a backup, and keep the old one beside it.

    Emails that have come due since become ``unknown`` with the code ``restored``, because they may have been sent.
    Raises `MisconfiguredError` on Postgres and while an outspool is running, and `InvalidArgument` for an invalid
    backup; nothing has changed then.
    """
    database, now = _file(settings), SystemClock().now()
    if await asyncio.to_thread(database.exists):
        await _refuse_if_in_use(database, now)
    staged, taken_at = await asyncio.to_thread(stage_restore, backup, database)
    try:
        async with MigratedDatabase(f"sqlite:///{staged}").open_until_exit() as copy:
            doubtful = await _doubt(copy, now)
        await asyncio.to_thread(fold_in, staged)
        old = await asyncio.to_thread(put_in_place, staged, database, now=now)
    finally:
        staged.unlink(missing_ok=True)
    return Restored(taken_at=taken_at, doubtful=doubtful, old=old)


def _file(settings: Settings) -> Path:
    database = Database(settings.store_url)
    if database.is_postgres:
        raise MisconfiguredError(
            "The outbox is in Postgres, which has tools of its own for this.",
            "Use pg_dump, or your provider's backups; docs/failover.md says what a restore can send twice.",
        )
    return database.sqlite_path


async def _refuse_if_in_use(path: Path, now: datetime) -> None:
    alive = sa.select(workers.c.name).where(workers.c.seen_at.between(now - _ALIVE, now + _ALIVE))
    try:
        async with Database(f"sqlite:///{path}").open_until_exit() as database:
            names = await database.read(lambda connection: connection.execute(alive).scalars().all())
    except StoreUnavailable:
        return  # damaged or empty, hence the restore
    if names:
        raise MisconfiguredError(
            f"An outspool runs on the outbox: {', '.join(names[:3])}.",
            "Stop it, wait for half a minute, and run this again; nothing was restored.",
        )


async def _doubt(database: MigratedDatabase, now: datetime) -> int:
    """Set emails that may have been sent since the backup to ``unknown``; return their number."""
    await set_all_aside(database, now=now)
    number = await database.write(lambda connection: _doubt_emails(connection, now))
    for series in await database.read(lambda connection: _due_series(connection, now)):
        number += await _doubt_occurrence(database, series, now)
    return number


def _doubt_emails(connection: sa.Connection, now: datetime) -> int:
    waits = sa.and_(emails.c.status.in_(sorted(CLAIMABLE)), emails.c.due_at <= now)
    changed = (
        emails.update()
        .where(sa.or_(waits, emails.c.status == EmailStatus.SENDING.value))
        .values(
            status=EmailStatus.UNKNOWN.value,
            lease=None,
            lease_until=None,
            version=emails.c.version + 1,
            **problem_values(_RESTORED),
        )
        .returning(emails.c.id)
    )
    ids = connection.execute(changed).scalars().all()
    event = Event(at=now, status=EmailStatus.UNKNOWN, code=_RESTORED.code, detail=_RESTORED.message)
    for email_id in ids:
        connection.execute(DOUBT_RECIPIENTS, {"ids": [email_id]})
        add_events(connection, [(email_id, event)])
    return len(ids)


def _due_series(connection: sa.Connection, now: datetime) -> Sequence[Series]:
    due = sa.select(emails).where(emails.c.status == EmailStatus.RECURRING.value, emails.c.due_at <= now)
    return [series for series in emails_of(connection, due) if isinstance(series, Series)]


async def _doubt_occurrence(database: MigratedDatabase, series: Series, now: datetime) -> int:
    """Make the series' last due email as ``unknown``, and advance the series; earlier ones are past."""
    at = series.recurrence.latest_until(series.due_at, now=now)
    made = make_occurrence(series, at, now=now, email_id=new_id(now), expire_after=_ALIVE)
    recipients = tuple(replace(r, status=RecipientStatus.UNKNOWN) for r in made.recipients)
    doubtful = replace(made, status=EmailStatus.UNKNOWN, recipients=recipients, problem=_RESTORED)
    event = Event(at=now, status=EmailStatus.UNKNOWN, code=_RESTORED.code, detail=_RESTORED.message)
    store = SqlSeries(database, ChangeWatch(database), rate=_UNLIMITED)
    is_made = await store.advance(advance_series(series, at, now=now), doubtful, event)
    if is_made:
        values = emails.update().where(emails.c.id == made.id).values(**problem_values(_RESTORED))
        await database.write(lambda connection: connection.execute(values))
    return int(is_made)
