"""Rate limits in the database: each meter enforces one `Cap` exactly, across all processes.

A meter counts what passed (`total`) and keeps a reading (total, time) of each passage. To enforce a cap of 100 per hour
on a sliding window, number 250 may pass if number 150 passed more than an hour ago: one index lookup, whatever the cap,
and exact, where fixed windows would let twice the cap pass around their border.

Advancing the total is the first statement of the transaction and locks the meter's row until the commit. So no two
processes can take the same place, and totals and times grow together. If the cap is reached, the caller rolls back,
which also takes back the count.
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

_CLOCK_TOLERANCE = timedelta(minutes=1)
"""A reading further ahead came from a wrong clock, and must not block everybody until that time."""

_SWEEP_EVERY = 64


class CapReached(Exception):
    """The cap is reached; the caller must roll back. There is room again at `at` (UTC)."""

    def __init__(self, at: datetime, *, is_ahead: bool) -> None:
        """`is_ahead`: the meter has readings of a wrong clock, which `mend` corrects."""
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


# Built once: building a statement costs more than executing it.
_ADVANCE = {"postgresql": _build_advance(postgresql.insert), "sqlite": _build_advance(sqlite.insert)}
_ADD_READING = readings.insert()
_FIRST_READING = (
    sa.select(readings.c.total, readings.c.at)
    .where(readings.c.meter == sa.bindparam("name"), readings.c.total >= sa.bindparam("ordinal"))
    .order_by(readings.c.total)
    .limit(1)
)


def take(connection: sa.Connection, name: str, count: int, cap: Cap, *, now: datetime) -> None:
    """Count `count` (at most `cap.most`) on the meter; raises `CapReached` if they do not fit."""
    total, at = _advance(connection, name, count, now)
    reading = _find_reading(connection, name, total - cap.most, now=now)
    if reading is not None:
        ordinal, passed_at = reading
        if passed_at > at - cap.window:
            is_ahead = passed_at > now + _CLOCK_TOLERANCE
            raise CapReached((now if is_ahead else passed_at) + cap.window, is_ahead=is_ahead)
        if total % _SWEEP_EVERY < count:
            # Readings older than one outside the window are irrelevant, even if the cap is changed.
            connection.execute(readings.delete().where(readings.c.meter == name, readings.c.total < ordinal))
    connection.execute(_ADD_READING, {"meter": name, "total": total, "at": at})


def count_room(connection: sa.Connection, name: str, cap: Cap, *, now: datetime) -> tuple[int, datetime | None]:
    """Return how many may pass now and, if none, when the next may."""
    total = connection.scalar(sa.select(meters.c.total).where(meters.c.name == name)) or 0
    outside = sa.select(readings.c.total).where(readings.c.meter == name, readings.c.at <= now - cap.window)
    passed_before = connection.scalar(outside.order_by(readings.c.total.desc()).limit(1)) or 0
    free = cap.most - (total - passed_before)
    if free > 0:
        return free, None
    reading = _find_reading(connection, name, total + 1 - cap.most, now=now)
    return 0, (min(reading[1], now) if reading else now) + cap.window


async def mend(database: Database, name: str, reached: CapReached, *, now: datetime) -> None:
    """Set readings of a wrong clock to `now`, if `reached` says that there are any."""
    if reached.is_ahead:
        ahead = readings.update().where(readings.c.meter == name, readings.c.at > now).values(at=now)
        await database.write(lambda connection: connection.execute(ahead))


def _advance(connection: sa.Connection, name: str, count: int, now: datetime) -> tuple[int, datetime]:
    """Lock the meter and advance it; return its total, and a time no earlier than its last one."""
    values = {"name": name, "total": count, "last_at": now, "far_ahead": now + _CLOCK_TOLERANCE}
    total, at = connection.execute(_ADVANCE[connection.dialect.name], values).one()
    return total, at


def _find_reading(connection: sa.Connection, name: str, ordinal: int, *, now: datetime) -> tuple[int, datetime] | None:
    """Return the reading that includes number `ordinal`; None if there is none, or it was swept.

    An unreadable time counts as `now`, so that the cap is never exceeded.
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
