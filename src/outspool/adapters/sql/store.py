"""The `EmailStore` port: the same statements on SQLite and Postgres.

Each change of an email is guarded by its version and status, here and in `recording`. So exactly one of two racing
processes wins, and the other learns that it was too late.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql import search as sql_search
from outspool.adapters.sql.admission import Admission, add_parts
from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.loading import emails_of, load
from outspool.adapters.sql.meter import CapReached
from outspool.adapters.sql.recording import Recording
from outspool.adapters.sql.rows import revised_values
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.scope import is_visible
from outspool.adapters.sql.status_writer import StatusWriter
from outspool.adapters.sql.tables import OWNER, attachments, emails, recipients, tags
from outspool.adapters.sql.watch import ChangeWatch
from outspool.domain.cap import Cap
from outspool.domain.email import Email, Event
from outspool.domain.principal import Scope
from outspool.domain.status import UNSETTLED, WAITING, EmailStatus
from outspool.domain.transition import Transition
from outspool.errors import IdempotencyConflict, StoreUnavailable, brief
from outspool.ports.emails import Page, Search

logger = logging.getLogger(__name__)

Stored = TypeVar("Stored")


class SqlEmailStore:
    """The emails of one database."""

    def __init__(
        self, database: MigratedDatabase, changes: ChangeWatch, status_writer: StatusWriter, *, rate: Cap
    ) -> None:
        """Use a database and a status writer, shared with the queue; announce changes.

        At most `rate` new emails are accepted for each identity.
        """
        self.database = database
        self._changes = changes
        self._status_writer = status_writer
        self._admission = Admission(database, rate=rate)

    async def add(self, email: Email, event: Event) -> Email:
        """See `EmailStore.add`. Callers who add at the same time share a commit."""
        return await self._insert(lambda: self.database.write_batched(self._store_all, (email, event)), email)

    async def add_all(self, requests: Sequence[tuple[Email, Event]]) -> Sequence[Email]:
        """See `EmailStore.add_all`."""
        [(first, _), *_] = requests
        return await self._insert(lambda: self.database.write(partial(self._store_all, requests=requests)), first)

    async def _insert(self, write: Callable[[], Awaitable[Stored]], first: Email) -> Stored:
        """Return what `write` returns; a doubtful commit is repeated, as to add the same ids again is harmless."""
        try:
            try:
                stored = await write()
            except StoreUnavailable as doubt:
                if not doubt.in_doubt:
                    raise
                try:
                    stored = await write()
                except StoreUnavailable:
                    raise doubt from None  # the first try may have been committed, whatever became of the second
        except CapReached as reached:
            await self._admission.refuse(reached, identity=first.identity, now=first.created_at)
        self._changes.announce(due=True)
        return stored

    def _store_all(self, connection: sa.Connection, requests: Sequence[tuple[Email, Event]]) -> list[Email]:
        """Store what is new, and return what stands for each; raises as `Admission.admit` and `_same` do."""
        is_new = self._admission.admit(connection, requests)
        self._changes.notify(connection)
        return [
            email if is_new[place] else self._same(connection, email, place if len(requests) > 1 else None)
            for place, (email, _) in enumerate(requests)
        ]

    def _same(self, connection: sa.Connection, email: Email, place: int | None) -> Email:
        """Return the stored email with the id or idempotency key of `email`.

        Raises `IdempotencyConflict` if its content differs, naming its `place` in a batch.
        """
        twin = sa.or_(emails.c.id == email.id, _has_key(email.idempotency_key, email.owner, {email.identity}))
        [found, *_] = emails_of(connection, sa.select(emails).where(twin))
        if found.fingerprint != email.fingerprint:
            where = "" if place is None else f"emails[{place}]: "
            raise IdempotencyConflict(
                f"{where}The idempotency key {brief(email.idempotency_key)} already stands for email {found.id} "
                f"({found.status}), {brief(found.content.subject)}, whose content or time differs.",
                "To change that one, use update_email; for another email, use another key. Nothing was stored.",
            )
        return found

    async def get(self, email_id: UUID, scope: Scope) -> Email | None:
        """See `EmailStore.get`."""
        return await self.database.read(lambda connection: load(connection, email_id, scope))

    async def version(self, email_id: UUID, scope: Scope) -> int | None:
        """See `EmailStore.version`."""
        statement = sa.select(emails.c.version).where(emails.c.id == email_id, is_visible(scope))
        return await self.database.read(lambda connection: connection.execute(statement).scalar())

    async def get_all(self, ids: Sequence[UUID], scope: Scope) -> Sequence[Email]:
        """See `EmailStore.get_all`."""
        of_these = sa.select(emails).where(emails.c.id.in_(ids), is_visible(scope))
        found = await self.database.read(lambda connection: emails_of(connection, of_these))
        return sorted(found, key=lambda email: ids.index(email.id))

    async def find_by_ending(self, ending: str, scope: Scope, *, limit: int) -> Sequence[Email]:
        """See `EmailStore.find_by_ending`."""
        statement = sql_search.with_ending(ending, scope, limit=limit)
        return await self.database.read(lambda connection: emails_of(connection, statement))

    async def find_settled(self, ids: Collection[UUID], scope: Scope) -> frozenset[UUID]:
        """See `EmailStore.find_settled`."""
        statement = sa.select(emails.c.id).where(emails.c.id.in_(ids), ~_stands_in(UNSETTLED), is_visible(scope))
        return await self.database.read(lambda connection: frozenset(connection.execute(statement).scalars()))

    async def by_key(self, idempotency_key: str, scope: Scope) -> Email | None:
        """See `EmailStore.by_key`."""
        has_key = _has_key(idempotency_key, scope.owner, scope.identities or frozenset())
        of_key = sa.select(emails).where(has_key, is_visible(scope))
        found = await self.database.read(lambda connection: emails_of(connection, of_key))
        return next(iter(found), None)

    async def find(self, search: Search, scope: Scope) -> Page:
        """See `EmailStore.find`."""

        def read_page(connection: sa.Connection) -> Page:
            rows = emails_of(connection, sql_search.page(search, scope))
            found = rows[: search.limit]
            if len(rows) > search.limit:
                next_before: UUID | None = found[-1].id
            else:
                next_before = connection.scalar(sql_search.end_of_window(search, scope)) if search.query else None
            return Page(emails=tuple(found), next_before=next_before)

        return await self.database.read(read_page)

    async def counts(self, scope: Scope) -> Mapping[EmailStatus, int]:
        """See `EmailStore.counts`."""
        rows = await self.database.read(lambda connection: connection.execute(sql_search.counts(scope)).all())
        return {EmailStatus(status): number for status, number in rows}

    async def revise(self, email: Email, event: Event, scope: Scope) -> bool:
        """See `EmailStore.revise`."""
        statement = (
            emails.update()
            .where(emails.c.id == email.id, emails.c.version == email.version, _stands_in(WAITING), is_visible(scope))
            .values({**revised_values(email), "version": emails.c.version + 1})
            .returning(emails.c.id)
        )

        def replace(connection: sa.Connection) -> bool:
            if connection.scalar(statement) is None:
                return False
            for part in (recipients, tags, attachments):
                connection.execute(part.delete().where(part.c.email_id == email.id))
            add_parts(connection, [email])
            add_events(connection, [(email.id, event)])
            self._changes.notify(connection)
            return True

        is_revised = await self.database.write(replace)
        if is_revised:
            self._changes.announce(due=True)
        return is_revised

    async def record(
        self,
        email_id: UUID,
        change: Transition,
        scope: Scope,
        *,
        lease: UUID | None = None,
        version: int | None = None,
    ) -> bool:
        """See `EmailStore.record`."""
        recording = Recording(email_id, change, scope, lease, version)
        try:
            is_applied = await self._status_writer.record(recording)
        except (sa.exc.DataError, ValueError) as error:
            # The outcome matters more than the server's exact words.
            logger.warning("what was said of email %s cannot be stored as it is: %s", email_id, type(error).__name__)
            is_applied = await self._status_writer.record(recording.in_ascii())
        if is_applied:
            self._changes.announce(due=change.target is EmailStatus.QUEUED)
        return is_applied


def _has_key(idempotency_key: str | None, owner: str | None, identities: Collection[str]) -> sa.ColumnElement[bool]:
    """Match the owner's email with this key; versions without owners stored the key by identity."""
    if idempotency_key is None:
        return sa.false()
    return sa.or_(
        sa.and_(emails.c.owner == owner, emails.c.owner_key == idempotency_key),
        sa.and_(
            emails.c.lane.in_(sorted(identities)),
            emails.c.idempotency_key == idempotency_key,
            emails.c.owner_key.is_(None),
            OWNER == owner,  # noqa: SIM300 - the constant is a column
        ),
    )


def _stands_in(statuses: Collection[EmailStatus]) -> sa.ColumnElement[bool]:
    return emails.c.status.in_(sorted(statuses))
