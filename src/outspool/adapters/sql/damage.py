"""Finds unreadable emails for `doctor`: in the queue, among the newest, and with an invalid status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.aside import find_damaged
from outspool.adapters.sql.rows import read_event
from outspool.adapters.sql.tables import emails, events
from outspool.adapters.sql.unreadable import RAW_ID, Damage, is_unreadable
from outspool.domain.status import WAITING, EmailStatus

_PAGE = 100
_UNSETTLED_LIMIT = 20_000
_NEWEST_LIMIT = 1_000
_INVALID_LIMIT = 1_000

_ASIDE = "It was set aside and can be read again."


def look_for_damage(connection: sa.Connection) -> list[Damage]:
    """Return unreadable emails among the first 20,000 unsettled and the newest 1,000.

    Rows with an invalid status are included, and rows that were set aside before, even if they can be read again.
    """
    found: dict[Any, Damage] = {}
    unsettled = sorted({*WAITING, EmailStatus.SENDING, EmailStatus.UNKNOWN})
    candidates = (
        _ids(emails.c.status.in_(unsettled), order=emails.c.id, limit=_UNSETTLED_LIMIT),
        _ids(order=emails.c.id.desc(), limit=_NEWEST_LIMIT),
        _ids(_has_invalid_status(), order=emails.c.status, limit=_INVALID_LIMIT),
    )
    for statement in candidates:
        raw_ids = connection.execute(statement).scalars().all()
        for page in (raw_ids[start : start + _PAGE] for start in range(0, len(raw_ids), _PAGE)):
            found |= {damage.raw_id: damage for damage in find_damaged(connection, page)}
            found = {**{damage.raw_id: damage for damage in _find_damaged_histories(connection, page)}, **found}
    set_aside = _ids(emails.c.status == EmailStatus.UNREADABLE.value, order=emails.c.id, limit=_INVALID_LIMIT)
    for raw_id in connection.execute(set_aside).scalars().all():
        [damage] = find_damaged(connection, [raw_id]) or [Damage(raw_id, _ASIDE)]
        found[raw_id] = damage
    return list(found.values())


def _ids(*conditions: sa.ColumnElement[bool], order: sa.ColumnElement[Any], limit: int) -> sa.Select[Any]:
    return sa.select(RAW_ID).where(*conditions).order_by(order).limit(limit)


def _has_invalid_status() -> sa.ColumnElement[bool]:
    """Match the gaps between valid statuses: each is an index range, where NOT IN would read every row."""
    valid = sorted(EmailStatus)
    gaps = [sa.and_(emails.c.status > low.value, emails.c.status < high.value) for low, high in pairwise(valid)]
    return sa.or_(emails.c.status < valid[0].value, *gaps, emails.c.status > valid[-1].value)


def _find_damaged_histories(connection: sa.Connection, raw_ids: Sequence[Any]) -> Iterator[Damage]:
    """Yield emails with an unreadable event."""
    try:
        _read_events(connection, raw_ids)
    except Exception as error:
        if not is_unreadable(error):
            raise
        for raw_id in raw_ids:
            try:
                _read_events(connection, [raw_id])
            except Exception as one:
                if not is_unreadable(one):
                    raise
                yield Damage(raw_id, "An event of its history cannot be read.")


def _read_events(connection: sa.Connection, raw_ids: Sequence[UUID]) -> None:
    is_selected = sa.type_coerce(events.c.email_id, sa.types.NullType()).in_(
        sa.bindparam("raw_ids", expanding=True, type_=sa.types.NullType())
    )
    for row in connection.execute(sa.select(events).where(is_selected), {"raw_ids": list(raw_ids)}).mappings():
        read_event(row)
