"""Looks for emails that cannot be read, for `doctor`: in the queue, among the newest, and where no status is valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.aside import damaged_among
from outspool.adapters.sql.rows import read_event
from outspool.adapters.sql.tables import emails, events
from outspool.adapters.sql.unreadable import RAW_ID, Damage, is_unreadable
from outspool.domain.status import WAITING, EmailStatus

_PAGE = 100
_MOST_WAITING = 20_000
_NEWEST = 1_000
_MOST = 1_000

_ASIDE = "It was set aside and can be read again."


def look_for_damage(connection: sa.Connection) -> list[Damage]:
    """Return what is wrong with the emails that cannot be read, of the first 20,000 that wait and the newest 1,000.

    Whatever was set aside before is among them, mended or not, and so is every row whose status is no status.
    """
    found: dict[Any, Damage] = {}
    unsettled = sorted({*WAITING, EmailStatus.SENDING, EmailStatus.UNKNOWN})
    candidates = (
        _ids(emails.c.status.in_(unsettled), order=emails.c.id, limit=_MOST_WAITING),
        _ids(order=emails.c.id.desc(), limit=_NEWEST),
        _ids(_is_no_status(), order=emails.c.status, limit=_MOST),
    )
    for statement in candidates:
        raw_ids = connection.execute(statement).scalars().all()
        for page in (raw_ids[start : start + _PAGE] for start in range(0, len(raw_ids), _PAGE)):
            found |= {damage.raw_id: damage for damage in damaged_among(connection, page)}
            found = {**{damage.raw_id: damage for damage in _damaged_pasts(connection, page)}, **found}
    aside = _ids(emails.c.status == EmailStatus.UNREADABLE.value, order=emails.c.id, limit=_MOST)
    for raw_id in connection.execute(aside).scalars().all():
        [damage] = damaged_among(connection, [raw_id]) or [Damage(raw_id, _ASIDE)]
        found[raw_id] = damage
    return list(found.values())


def _ids(*conditions: sa.ColumnElement[bool], order: sa.ColumnElement[Any], limit: int) -> sa.Select[Any]:
    return sa.select(RAW_ID).where(*conditions).order_by(order).limit(limit)


def _is_no_status() -> sa.ColumnElement[bool]:
    """Match the gaps between the valid ones: each is a range of an index, where NOT IN would read every row."""
    valid = sorted(EmailStatus)
    gaps = [sa.and_(emails.c.status > low.value, emails.c.status < high.value) for low, high in pairwise(valid)]
    return sa.or_(emails.c.status < valid[0].value, *gaps, emails.c.status > valid[-1].value)


def _damaged_pasts(connection: sa.Connection, raw_ids: Sequence[Any]) -> Iterator[Damage]:
    """Yield the emails of which an event cannot be read."""
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
    of_these = sa.type_coerce(events.c.email_id, sa.types.NullType()).in_(
        sa.bindparam("raw_ids", expanding=True, type_=sa.types.NullType())
    )
    for row in connection.execute(sa.select(events).where(of_these), {"raw_ids": list(raw_ids)}).mappings():
        read_event(row)
