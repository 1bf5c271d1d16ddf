"""The attachments of emails, and the ledger of the files that they are; the bytes are elsewhere (`BlobStore`).

Whoever stores a file notes it first, and whoever removes files condemns them first, each in one transaction on the same
row: a file that is noted is not condemned before its time is over, and one that is condemned is not noted before it is
gone. So no email is accepted with a file that somebody is removing, whatever process does what and dies when.
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

_LONGEST_REMOVAL = timedelta(hours=1)
"""Whoever condemned a file has removed it by then, or never will: nobody else removes it while he might still."""


def add_attachments(connection: sa.Connection, added: Sequence[Email]) -> None:
    """Store what the attachments of these emails are; the files must have been noted."""
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


def attachments_of(connection: sa.Connection, rows: Sequence[sa.RowMapping]) -> dict[UUID, tuple[Attachment, ...]]:
    """Return the attachments by email, for those of these rows of `emails` that have any."""
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
    """`outspool.ports.files.BlobLedger` in the database of the emails."""

    def __init__(self, database: Database) -> None:
        """Share the database with the store."""
        self._database = database

    async def note(self, sizes: Mapping[str, int], *, kept_until: datetime) -> None:
        """See `BlobLedger.note`."""
        # In one order everywhere, so that two emails with the same files do not wait for one another.
        rows = [
            {"digest": digest, "size": size, "kept_until": kept_until, "condemned": False}
            for digest, size in sorted(sizes.items())
        ]
        insert = postgresql.insert if self._database.is_postgres else sqlite.insert
        new = insert(blobs).values(rows)
        longer = sa.case((blobs.c.kept_until > new.excluded.kept_until, blobs.c.kept_until), else_=kept_until)
        statement = new.on_conflict_do_update(
            index_elements=["digest"], set_={"kept_until": longer}, where=blobs.c.condemned.is_(sa.false())
        )

        def write(connection: sa.Connection) -> None:
            if len(connection.execute(statement.returning(blobs.c.digest)).all()) < len(rows):
                raise StoreUnavailable(
                    "An attachment like one of these is being removed right now.", "Try again in a minute."
                )

        await self._database.write(write)

    async def condemn(self, *, at: datetime, limit: int) -> Sequence[str]:
        """See `BlobLedger.condemn`."""
        of_an_email = sa.select(attachments.c.digest).where(attachments.c.digest == blobs.c.digest).exists()
        found = (
            sa.select(blobs.c.digest)
            .where(blobs.c.kept_until < at, sa.or_(blobs.c.condemned, ~of_an_email))
            .order_by(blobs.c.kept_until)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("found")
        )
        statement = (
            blobs.update()
            .where(blobs.c.digest.in_(sa.select(found.c.digest)))
            .values(condemned=True, kept_until=at + _LONGEST_REMOVAL)
            .returning(blobs.c.digest)
        )
        return await self._database.write(lambda connection: list(connection.execute(statement).scalars()))

    async def forget(self, digests: Collection[str]) -> None:
        """See `BlobLedger.forget`."""
        gone = blobs.delete().where(blobs.c.digest.in_(digests), blobs.c.condemned.is_(sa.true()))
        await self._database.write(lambda connection: connection.execute(gone))


class SqlBlobHandles:
    """`outspool.ports.files.BlobHandles` in the database of the emails.

    What was stored in a process without an account has no sender to be bound to: its owner may use it with any.
    """

    def __init__(self, database: Database, *, identity: str) -> None:
        """Share the database with the store. Handles are issued for `identity`, an address."""
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
