"""Sets unreadable rows aside, so that statements over many rows succeed without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from outspool.adapters.sql.backend import T, Work
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.loading import find_damage, read_emails
from outspool.adapters.sql.tables import emails
from outspool.adapters.sql.unreadable import Damage, is_claimed, is_unreadable, raw_ids_in_queue, set_aside

logger = logging.getLogger(__name__)

_PAGE = 100


async def write_setting_aside(database: Database, work: Work[T], *, now: datetime) -> T:
    """Run `work` in a transaction; if an unreadable row stops it, set all such rows aside and run it again."""
    try:
        return await database.write(work)
    except Exception as error:
        if not is_unreadable(error) or not await set_all_aside(database, now=now):
            raise
    return await database.write(work)


async def read_setting_aside(database: Database, work: Work[T], *, now: datetime) -> T:
    """Like `write_setting_aside`, for work that only reads."""
    try:
        return await database.read(work)
    except Exception as error:
        if not is_unreadable(error) or not await set_all_aside(database, now=now):
            raise
    return await database.read(work)


async def set_all_aside(database: Database, *, now: datetime) -> int:
    """Set aside every unreadable row of the queue that no worker holds at `now`; return their number."""
    number, after = 0, None
    while True:
        raw_ids, damaged = await database.read(lambda connection, after=after: _read_page(connection, after, now))  # type: ignore[misc]
        for damage in damaged:
            number += await set_one_aside(database, damage, now=now)
        if not raw_ids:
            return number
        after = raw_ids[-1]


async def set_one_aside(database: Database, damage: Damage, *, now: datetime) -> bool:
    """Set one row aside; False if it has left the queue."""
    is_set_aside = await database.write(lambda connection: set_aside(connection, damage, at=now))
    if is_set_aside:
        warn_of(damage)
    return is_set_aside


def warn_of(damage: Damage) -> None:
    """Log that a row was set aside."""
    logger.error("email %s is set aside, unreadable: %s", damage.name, damage.why)


def find_damaged(connection: sa.Connection, raw_ids: Sequence[Any]) -> list[Damage]:
    """Return the unreadable rows among `raw_ids`, each with what is wrong."""
    statement = sa.select(emails).where(
        sa.type_coerce(emails.c.id, sa.types.NullType()).in_(
            sa.bindparam("raw_ids", expanding=True, type_=sa.types.NullType())
        )
    )
    try:
        read_emails(connection, connection.execute(statement, {"raw_ids": list(raw_ids)}).mappings().all())
    except Exception as error:
        if not is_unreadable(error):
            raise
        found = (find_damage(connection, raw_id) for raw_id in raw_ids)
        return [damage for damage in found if damage is not None]
    return []


def _read_page(connection: sa.Connection, after: Any, now: datetime) -> tuple[Sequence[Any], list[Damage]]:
    """Return the next page of ids, and the damaged rows among them that no worker holds."""
    raw_ids = raw_ids_in_queue(connection, after=after, limit=_PAGE)
    damaged = find_damaged(connection, raw_ids)
    return raw_ids, [damage for damage in damaged if not is_claimed(connection, damage.raw_id, now=now)]
