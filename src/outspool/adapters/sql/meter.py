"""Meters in the database: each keeps one `Cap` exactly, over all processes that share it.

A meter has a running total, and a reading (total, time) for everything that passed. Of a cap of 100, number 250 may
pass when number 150 did so longer ago than the window: one look-up, whatever the cap. The meter's row is locked from
the first statement to the commit, so totals and times grow together and two processes never share the last place.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import UtcDateTime, meters, readings
from outspool.adapters.sql.unreadable import is_unreadable
from outspool.domain.cap import Cap

_CLOCKS_DIFFER = timedelta(minutes=1)
"""A time further ahead was written by a clock that was wrong, and must not block everybody until it comes."""

_SWEEP_EVERY = 64


class CapReached(Exception):
    """What was asked did not fit; the transaction must be rolled back. It will fit at `at` (UTC)."""

    def __init__(self, at: datetime, *, is_ahead: bool) -> None:
        """`is_ahead`: the meter has times that a wrong clock wrote; `mend` corrects them."""
        super().__init__()
        self.at = at
        self.is_ahead = is_ahead


def _build_advance(insert: Any) -> Any:
    new = insert(meters)
    last_at = sa.case(
        (meters.c.last_at > sa.bindparam("far_ahead", type_=UtcDateTime), new.excluded.last_at),
        (meters.c.last_at > new.excluded.last_at, meters.c.last_at),
        else_=new.excluded.last_at,
    )
    advanced = {"total": meters.c.total + new.excluded.total, "last_at": last_at}
    columns: dict[str, Any] = {name: sa.bindparam(name) for name in ("name", "total", "last_at")}
    on_conflict = new.values(columns).on_conflict_do_update(index_elements=["name"], set_=advanced)
    return on_conflict.returning(meters.c.total, meters.c.last_at)


# Built once: to build a statement, and look up what it compiles to, costs more than to run it.
_ADVANCE = {"postgresql": _build_advance(postgresql.insert), "sqlite": _build_advance(sqlite.insert)}
_READ_OFF = readings.insert()
_FIRST_READING = (
    sa.select(readings.c.total, readings.c.at)
    .where(readings.c.meter == sa.bindparam("name"), readings.c.total >= sa.bindparam("ordinal"))
    .order_by(readings.c.total)
    .limit(1)
)


def take(connection: sa.Connection, name: str, count: int, cap: Cap, *, now: datetime) -> None:
    """Let `count` (at most `cap.most`) pass through the meter; raises `CapReached` when they do not fit."""
    total, at = _advance(connection, name, count, now)
    in_the_way = _find_reading(connection, name, total - cap.most, now=now)
    if in_the_way is not None:
        ordinal, passed = in_the_way
        if passed > at - cap.window:
            is_ahead = passed > now + _CLOCKS_DIFFER
            raise CapReached((now if is_ahead else passed) + cap.window, is_ahead=is_ahead)
        if total % _SWEEP_EVERY < count:
            # What is older than one that is past its window tells nothing, whatever the cap will be.
            connection.execute(readings.delete().where(readings.c.meter == name, readings.c.total < ordinal))
    connection.execute(_READ_OFF, {"meter": name, "total": total, "at": at})


def count_room(connection: sa.Connection, name: str, cap: Cap, *, now: datetime) -> tuple[int, datetime | None]:
    """Return how many would pass now, and when one more will if that is none."""
    total = connection.scalar(sa.select(meters.c.total).where(meters.c.name == name)) or 0
    past = sa.select(readings.c.total).where(readings.c.meter == name, readings.c.at <= now - cap.window)
    passed_before = connection.scalar(past.order_by(readings.c.total.desc()).limit(1)) or 0
    free = cap.most - (total - passed_before)
    if free > 0:
        return free, None
    in_the_way = _find_reading(connection, name, total + 1 - cap.most, now=now)
    return 0, (min(in_the_way[1], now) if in_the_way else now) + cap.window


async def mend(database: Database, name: str, reached: CapReached, *, now: datetime) -> None:
    """Let what a clock that ran ahead has written, if `reached` tells of any, count as of `now`."""
    if reached.is_ahead:
        ahead = readings.update().where(readings.c.meter == name, readings.c.at > now).values(at=now)
        await database.write(lambda connection: connection.execute(ahead))


def _advance(connection: sa.Connection, name: str, count: int, now: datetime) -> tuple[int, datetime]:
    """Lock the meter and count on; return its total and a time that is never before its last one."""
    values = {"name": name, "total": count, "last_at": now, "far_ahead": now + _CLOCKS_DIFFER}
    total, at = connection.execute(_ADVANCE[connection.dialect.name], values).one()
    return total, at


def _find_reading(connection: sa.Connection, name: str, ordinal: int, *, now: datetime) -> tuple[int, datetime] | None:
    """Return the reading that number `ordinal` is part of; None when there is no such number, or it is long past.

    A time that cannot be read counts as `now`: a cap errs on the side of too few.
    """
    if ordinal <= 0:
        return None
    try:
        row = connection.execute(_FIRST_READING, {"name": name, "ordinal": ordinal}).one_or_none()
    except Exception as error:
        if not is_unreadable(error):
            raise
        return ordinal, now
    return None if row is None else (row.total, row.at)
