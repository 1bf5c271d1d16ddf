"""`EmailStore` on SQLAlchemy Core: the same statements on SQLite and on Postgres.

Each change of an email is guarded, by its version and status here and in `sql_recording`, so that of two processes that
race for it exactly one wins and the other is told that it came too late.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql import search as sql_search
from outspool.adapters.sql.admission import Admission, add_parts, note
from outspool.adapters.sql.group_commit import GroupCommit
from outspool.adapters.sql.loading import emails_of, load
from outspool.adapters.sql.recording import Recording
from outspool.adapters.sql.rows import revised_values
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.status_writer import StatusWriter
from outspool.adapters.sql.tables import attachments, emails, recipients, tags
from outspool.adapters.sql.watch import ChangeWatch
from outspool.domain.cap import Cap
from outspool.domain.email import Email, Event
from outspool.domain.status import UNSETTLED, WAITING, EmailStatus
from outspool.domain.transition import Transition
from outspool.errors import IdempotencyConflict, StoreUnavailable, brief
from outspool.ports.emails import Page, Search

logger = logging.getLogger(__name__)


class SqlEmailStore:
    """The emails of one database."""

    def __init__(
        self, database: MigratedDatabase, changes: ChangeWatch, journal: StatusWriter, *, lane: str, rate: Cap
    ) -> None:
        """Share the database and its journal with the queue; announce what changes.

        New emails go into `lane`, no more than `rate`.
        """
        self.database = database
        self._changes = changes
        self._journal = journal
        self._lane = lane
        self._admission = Admission(database, lane=lane, rate=rate)
        self._add_together = GroupCommit(self._add_all)

    async def add(self, email: Email, event: Event) -> Email:
        """See `EmailStore.add`. Who adds at the same time shares a commit."""
        [stored] = await self._added(lambda: self._alone((email, event)), now=email.created_at)
        return stored

    async def add_all(self, asked: Sequence[tuple[Email, Event]]) -> Sequence[Email]:
        """See `EmailStore.add_all`."""
        return await self._added(lambda: self._add_all(asked), now=asked[0][0].created_at)

    async def _added(self, add: Callable[[], Awaitable[Sequence[Email]]], *, now: datetime) -> Sequence[Email]:
        """Add; to add the same ids again is harmless, so a doubtful commit is simply repeated."""
        try:
            stored = await self._admission.obey(add(), now=now)
        except StoreUnavailable as doubt:
            if not doubt.in_doubt:
                raise
            try:
                stored = await self._admission.obey(add(), now=now)
            except StoreUnavailable:
                raise doubt from None  # the first try may have been committed, whatever became of the second
        self._changes.announce(due=True)
        return stored

    async def _alone(self, one: tuple[Email, Event]) -> Sequence[Email]:
        return [await self._add_together(one)]

    async def _add_all(self, asked: Sequence[tuple[Email, Event]]) -> list[Email]:
        def store_all(connection: sa.Connection) -> list[Email]:
            stored = self._admission.admit(connection, asked)
            self._changes.notify(connection)
            return [
                email if is_new else self._same(connection, email, place if len(asked) > 1 else None)
                for place, ((email, _), is_new) in enumerate(zip(asked, stored, strict=True))
            ]

        return await self.database.write(store_all)

    def _same(self, connection: sa.Connection, email: Email, place: int | None) -> Email:
        """Return what stands where `email` would: itself, stored before, or its twin under the same key.

        Raises `IdempotencyConflict` when that is another email, and says at which `place` of several.
        """
        twin = sa.or_(emails.c.id == email.id, self._has_key(email.idempotency_key))
        [found, *_] = emails_of(connection, sa.select(emails).where(twin))
        if found.fingerprint != email.fingerprint:
            where = "" if place is None else f"emails[{place}]: "
            raise IdempotencyConflict(
                f"{where}The idempotency key {brief(email.idempotency_key)} already stands for another email.",
                "Use a new key for a new email; nothing was stored.",
            )
        return found

    def _has_key(self, idempotency_key: str | None) -> sa.ColumnElement[bool]:
        """Match the email of this key; each lane has keys of its own."""
        if idempotency_key is None:
            return sa.false()
        return sa.and_(emails.c.lane == self._lane, emails.c.idempotency_key == idempotency_key)

    async def get(self, email_id: UUID) -> Email | None:
        """See `EmailStore.get`."""
        return await self.database.read(lambda connection: load(connection, email_id))

    async def version(self, email_id: UUID) -> int | None:
        """See `EmailStore.version`."""
        statement = sa.select(emails.c.version).where(emails.c.id == email_id)
        return await self.database.read(lambda connection: connection.execute(statement).scalar())

    async def get_all(self, ids: Sequence[UUID]) -> Sequence[Email]:
        """See `EmailStore.get_all`."""
        of_these = sa.select(emails).where(emails.c.id.in_(ids))
        found = await self.database.read(lambda connection: emails_of(connection, of_these))
        return sorted(found, key=lambda email: ids.index(email.id))

    async def settled(self, ids: Collection[UUID]) -> frozenset[UUID]:
        """See `EmailStore.settled`."""
        statement = sa.select(emails.c.id).where(emails.c.id.in_(ids), ~_stands_in(UNSETTLED))
        return await self.database.read(lambda connection: frozenset(connection.execute(statement).scalars()))

    async def by_key(self, idempotency_key: str) -> Email | None:
        """See `EmailStore.by_key`."""
        of_key = sa.select(emails).where(self._has_key(idempotency_key))
        found = await self.database.read(lambda connection: emails_of(connection, of_key))
        return next(iter(found), None)

    async def find(self, search: Search) -> Page:
        """See `EmailStore.find`."""

        def read_page(connection: sa.Connection) -> Page:
            rows = emails_of(connection, sql_search.page(search))
            found = rows[: search.limit]
            if len(rows) > search.limit:
                next_before: UUID | None = found[-1].id
            else:
                next_before = connection.scalar(sql_search.end_of_window(search)) if search.query else None
            return Page(emails=tuple(found), next_before=next_before)

        return await self.database.read(read_page)

    async def counts(self) -> Mapping[EmailStatus, int]:
        """See `EmailStore.counts`."""
        rows = await self.database.read(lambda connection: connection.execute(sql_search.counts()).all())
        return {EmailStatus(status): number for status, number in rows}

    async def revise(self, email: Email, event: Event) -> bool:
        """See `EmailStore.revise`."""
        statement = (
            emails.update()
            .where(emails.c.id == email.id, emails.c.version == email.version, _stands_in(WAITING))
            .values({**revised_values(email), "version": emails.c.version + 1})
            .returning(emails.c.id)
        )

        def replace(connection: sa.Connection) -> bool:
            if connection.scalar(statement) is None:
                return False
            for part in (recipients, tags, attachments):
                connection.execute(part.delete().where(part.c.email_id == email.id))
            add_parts(connection, [email])
            note(connection, email.id, event)
            self._changes.notify(connection)
            return True

        is_revised = await self.database.write(replace)
        if is_revised:
            self._changes.announce(due=True)
        return is_revised

    async def record(
        self, email_id: UUID, change: Transition, *, lease: UUID | None = None, version: int | None = None
    ) -> bool:
        """See `EmailStore.record`."""
        recording = Recording(email_id, change, lease, version)
        try:
            is_applied = await self._journal.record(recording)
        except (sa.exc.DataError, ValueError) as error:
            # Whatever a server said, what became of the email is worth more than its words.
            logger.warning("what was said of email %s cannot be stored as it is: %s", email_id, type(error).__name__)
            is_applied = await self._journal.record(recording.in_ascii())
        if is_applied:
            self._changes.announce(due=change.target is EmailStatus.QUEUED)
        return is_applied


def _stands_in(statuses: Collection[EmailStatus]) -> sa.ColumnElement[bool]:
    return emails.c.status.in_(sorted(statuses))
