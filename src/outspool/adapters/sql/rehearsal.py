"""Rehearses sending: writes to every table that an email touches, then rolls back."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import (
    accounts,
    blobs,
    emails,
    events,
    meters,
    readings,
    recipients,
    tags,
    workers,
)

_BULK = 4 * 1024 * 1024
"""More bytes than SQLite caches (2 MB), so that they reach the disk before the rollback."""
_ANY_TEXT = "rehearsal: ü → 漢 🎉"
"""Characters that only Unicode encodings can store."""


class _RollBack(Exception):
    """Rolls the rehearsal back."""


async def rehearse(database: Database, *, has_tables: bool) -> None:
    """Write a whole email and roll back; if there are no tables yet, create one and roll back.

    Raises what a real write would: `StoreUnavailable`, or `StoreMisconfigured` with the fix.
    """

    def write(connection: sa.Connection) -> None:
        if has_tables:
            _write_email(connection)
        else:
            connection.exec_driver_sql("CREATE TABLE outspool_rehearsal (n INTEGER)")
        raise _RollBack

    try:
        await database.write(write)
    except _RollBack:
        return


def _write_email(connection: sa.Connection) -> None:
    email_id, now, name = uuid4(), datetime.now(UTC), f"rehearsal {uuid4().hex}"
    connection.execute(emails.insert(), _email(email_id, now))
    ann = {"kind": "to", "address": "ann@example.com", "name": "", "status": "pending"}
    connection.execute(recipients.insert(), {"email_id": email_id, "position": 0, **ann})
    connection.execute(tags.insert(), {"tag": "rehearsal", "email_id": email_id})
    event = {"email_id": email_id, "at": now, "status": "canceled", "code": "rehearsal", "detail": _ANY_TEXT}
    connection.execute(events.insert(), event)
    connection.execute(workers.insert(), {"name": name, "seen_at": now})
    connection.execute(meters.insert(), {"name": name, "total": 1, "last_at": now})
    connection.execute(readings.insert(), {"meter": name, "total": 1, "at": now})
    connection.execute(blobs.insert(), {"digest": email_id.hex, "size": 1, "kept_until": now, "condemned": False})
    words = dict.fromkeys(("kind", "message", "hint", "credential"), "")
    connection.execute(accounts.insert(), {"name": name, "failures": 0, **words})
    connection.execute(emails.update().where(emails.c.id == email_id).values(version=1))
    connection.execute(emails.delete().where(emails.c.id == email_id))
    connection.execute(workers.delete().where(workers.c.name == name))


def _email(email_id: Any, now: datetime) -> dict[str, Any]:
    """Return a row that no worker would claim."""
    texts = dict.fromkeys(("lane", "from_address", "from_name", "message_id"), "rehearsal")
    lists: dict[str, Any] = {"reply_to": [], "references": [], "headers": {}, "tags": []}
    times = dict.fromkeys(("date", "created_at", "due_at"), now)
    return {
        **texts,
        **lists,
        **times,
        "id": email_id,
        "status": "canceled",
        "subject": _ANY_TEXT,
        "body": os.urandom(_BULK // 2).hex(),
        "priority": "normal",
        "rank": 1,
        "expires_at": now + timedelta(days=1),
        "fingerprint": "",
    }
