"""Attachment rows, and the ledger of stored blobs; the bytes themselves are in a `BlobStore`.

Before a blob is uploaded it is noted in the ledger, and before it is deleted it is condemned there, both in a
transaction on the blob's row. A noted blob is not condemned before its retention ends; a condemned blob cannot be noted
until it has been deleted. So no email is accepted with a blob that is being deleted, whichever process dies at whatever
moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import attachments, blob_handles, blobs
from outspool.domain.attachment import Attachment
from outspool.domain.email import Email
from outspool.domain.principal import Scope
from outspool.errors import StoreUnavailable

_ADD = attachments.insert()

_DELETION_TIMEOUT = timedelta(hours=1)
"""The process that marked a blob for deletion has finished or died by this time, so another may delete it."""


def add_attachments(connection: sa.Connection, added: Sequence[Email]) -> None:
    """Insert the attachment rows of these emails; their blobs must have been noted."""
    if rows := [
        {
            "email_id": email.id,
            "position": position,
            "filename": a.filename,
            "content_type": a.content_type,
            "content_id": a.content_id,
            "size": a.size,
            "digest": a.digest,
        }
        for email in added
        for position, a in enumerate(email.content.attachments)
    ]:
        connection.execute(_ADD, rows)


def load_attachments(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> dict[UUID, tuple[Attachment, ...]]:
    """Return the attachments of these rows of `emails`, by email id; emails without any are missing."""
    ids = [row["id"] for row in rows if row["attached"]]
    found: dict[UUID, tuple[Attachment, ...]] = {}
    if ids:
        statement = (
            sa.select(attachments)
            .where(attachments.c.email_id.in_(ids))
            .order_by(attachments.c.email_id, attachments.c.position)
        )
        for row in connection.execute(statement).mappings():
            found[row["email_id"]] = (*found.get(row["email_id"], ()), _read_attachment(row))
    return found


class SqlBlobLedger:
    """The `BlobLedger` port, in the database of the emails."""

    def __init__(self, database: Database) -> None:
        """Use the store's database."""
        self._database = database

    async def note(self, sizes: Mapping[str, int], *, kept_until: datetime) -> None:
        """See `BlobLedger.note`."""
        # Sorted, so that two emails with the same files cannot deadlock.
        rows = [
            {"digest": digest, "size": size, "kept_until": kept_until, "condemned": False}
            for digest, size in sorted(sizes.items())
        ]
        insert = postgresql.insert if self._database.is_postgres else sqlite.insert
        new = insert(blobs).values(rows)
        extended = sa.case((blobs.c.kept_until > new.excluded.kept_until, blobs.c.kept_until), else_=kept_until)
        statement = new.on_conflict_do_update(
            index_elements=["digest"], set_={"kept_until": extended}, where=blobs.c.condemned.is_(sa.false())
        )

        def write(connection: sa.Connection) -> None:
            if len(connection.execute(statement.returning(blobs.c.digest)).all()) < len(rows):
                raise StoreUnavailable(
                    "An attachment like one of these is being removed right now.", "Try again in a minute."
                )

        await self._database.write(write)

    async def condemn(self, *, at: datetime, limit: int) -> Sequence[str]:
        """See `BlobLedger.condemn`."""
        is_used = sa.select(attachments.c.digest).where(attachments.c.digest == blobs.c.digest).exists()
        found = (
            sa.select(blobs.c.digest)
            .where(blobs.c.kept_until < at, sa.or_(blobs.c.condemned, ~is_used))
            .order_by(blobs.c.kept_until)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("found")
        )
        statement = (
            blobs.update()
            .where(blobs.c.digest.in_(sa.select(found.c.digest)))
            .values(condemned=True, kept_until=at + _DELETION_TIMEOUT)
            .returning(blobs.c.digest)
        )
        return await self._database.write(lambda connection: list(connection.execute(statement).scalars()))

    async def forget(self, digests: Collection[str]) -> None:
        """See `BlobLedger.forget`."""
        deletion = blobs.delete().where(blobs.c.digest.in_(digests), blobs.c.condemned.is_(sa.true()))
        await self._database.write(lambda connection: connection.execute(deletion))


class SqlBlobHandles:
    """The `BlobHandles` port, in the database of the emails.

    A blob stored by a process without an account has no identity: its owner may use it with any.
    """

    def __init__(self, database: Database, *, identity: str) -> None:
        """Use the store's database. Handles are issued for `identity`, an address."""
        self._database = database
        self._identity = identity

    async def issue(self, digest: str, owner: str) -> str:
        """See `BlobHandles.issue`."""
        token = secrets.token_hex(32)
        new = blob_handles.insert().values(token=token, digest=digest, owner=owner, lane=self._identity)
        await self._database.write(lambda connection: connection.execute(new))
        return token

    async def find(self, token: str, scope: Scope) -> str | None:
        """See `BlobHandles.find`."""
        statement = sa.select(blob_handles.c.digest).where(blob_handles.c.token == token)
        if scope.owner is not None:
            statement = statement.where(blob_handles.c.owner == scope.owner)
        if scope.identities is not None:
            statement = statement.where(blob_handles.c.lane.in_([*sorted(scope.identities), ""]))
        return await self._database.read(lambda connection: connection.scalar(statement))


def _read_attachment(row: sa.RowMapping) -> Attachment:
    texts = (row["filename"], row["content_type"], row["content_id"] or "", row["digest"])
    if not isinstance(row["size"], int) or not all(isinstance(text, str) for text in texts):
        raise ValueError("an attachment's row holds what is no text, or no size")
    return Attachment(
        filename=row["filename"],
        content_type=row["content_type"],
        content_id=row["content_id"],
        size=row["size"],
        digest=row["digest"],
    )
