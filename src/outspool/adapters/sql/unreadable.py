"""Reads damaged rows column by column, shows what can be read of them, and sets them aside.

A row may hold what outspool never writes: another program wrote to the table, a disk lost bits, or a newer outspool
uses new values. A statement over many rows would then fail for all of them. Here each row is read separately, and each
column of a damaged one, so that one bad row affects no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from outspool.adapters.sql.events import add_events
from outspool.adapters.sql.tables import emails, events
from outspool.adapters.uuid7 import time_of
from outspool.domain.email import Content, Email, Event, Mailbox, Problem
from outspool.domain.status import CLAIMABLE, EmailStatus
from outspool.errors import OutspoolError

CODE = "unreadable"
HINT = "The operator mends the row in the database and runs `outspool retry` with its id, or cancels it."

RAW_ID: sa.ColumnElement[Any] = sa.type_coerce(emails.c.id, sa.types.NullType()).label("raw_id")
"""The id as the driver returns it; on SQLite it may be an invalid UUID."""
_RAW = sa.bindparam("raw_id", type_=sa.types.NullType())
_HAS_RAW_ID = sa.type_coerce(emails.c.id, sa.types.NullType()) == _RAW

_IN_QUEUE = (*sorted(CLAIMABLE), EmailStatus.RECURRING.value, EmailStatus.SENDING.value)
_NOTHING = Mailbox(address="")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def is_unreadable(error: BaseException) -> bool:
    """Tell whether `error` means an invalid value in a row, and not an unavailable database."""
    if isinstance(error, DBAPIError):  # SQLite stores any bytes; its driver decodes on reading
        return "Could not decode to UTF-8" in str(error.orig)
    return isinstance(
        error, ValueError | TypeError | LookupError | AttributeError | ArithmeticError
    ) and not isinstance(error, OutspoolError)


@dataclass(frozen=True, slots=True)
class Damage:
    """An unreadable row of `emails`: its id as the driver returns it, and what is wrong in words."""

    raw_id: Any
    why: str

    @property
    def name(self) -> str:
        """The id as text; an invalid one is quoted."""
        email_id = _uuid(self.raw_id)
        return str(email_id) if email_id is not None else f"id {str(self.raw_id)[:40]!r}"


def make_stand_in(connection: sa.Connection, raw_id: Any, error: BaseException) -> Email | None:
    """Return an email made of the readable columns of a row; None if its id is invalid.

    Its status is ``unreadable``, whatever the row says. `error` is what reading the row raised.
    """
    email_id = _uuid(raw_id)
    if email_id is None:
        return None
    values, unreadable = _columns(connection, raw_id)
    why = _explain(unreadable, error)
    made_at = values.get("created_at") or _estimate_time(email_id)
    return Email(
        id=email_id,
        status=EmailStatus.UNREADABLE,
        content=Content(
            sender=Mailbox(address=values.get("from_address") or "", name=values.get("from_name") or ""),
            to=(),
            subject=values.get("subject") or "",
        ),
        recipients=(),
        message_id=values.get("message_id") or "",
        date=values.get("date") or made_at,
        created_at=made_at,
        due_at=values.get("due_at") or made_at,
        expires_at=values.get("expires_at") or made_at,
        identity=values.get("lane") or "",
        owner=values.get("owner") or "",
        attempts=values.get("attempts") or 0,
        problem=Problem(code=CODE, message=why, hint=HINT),
        idempotency_key=values.get("idempotency_key"),
        fingerprint=values.get("fingerprint") or "",
        version=values.get("version") or 0,
        lease=values.get("lease"),
        unreadable=why,
    )


def set_aside(connection: sa.Connection, damage: Damage, *, at: datetime) -> bool:
    """Take a row out of the queue, with an event that says what it was; False if it had left the queue."""
    was = _column(connection, damage.raw_id, "status")
    result = connection.execute(_SET_ASIDE, {"raw_id": damage.raw_id, "why": damage.why})
    if result.rowcount and (email_id := _uuid(damage.raw_id)) is not None:
        detail = f"{damage.why} It was {was}." if isinstance(was, str) else damage.why
        event = Event(at=at, status=EmailStatus.UNREADABLE, code=CODE, detail=detail[:500])
        add_events(connection, [(email_id, event)])
    return bool(result.rowcount)


def raw_ids_in_queue(connection: sa.Connection, *, after: Any, limit: int) -> Sequence[Any]:
    """Return the next ids, in order, that are waiting, recurring or claimed; the first if `after` is None."""
    statement = sa.select(RAW_ID).where(emails.c.status.in_(_IN_QUEUE)).order_by(emails.c.id).limit(limit)
    if after is not None:
        statement = statement.where(sa.type_coerce(emails.c.id, sa.types.NullType()) > _RAW)
        return connection.execute(statement, {"raw_id": after}).scalars().all()
    return connection.execute(statement).scalars().all()


def is_claimed(connection: sa.Connection, raw_id: Any, *, now: datetime) -> bool:
    """Tell whether a worker holds the row now."""
    until = _column(connection, raw_id, "lease_until")
    return isinstance(until, datetime) and until > now and _column(connection, raw_id, "status") == EmailStatus.SENDING


def read_events(connection: sa.Connection, email_id: UUID, *, made_at: datetime) -> Iterator[Event]:
    """Yield an email's events, each read separately.

    An unreadable one yields an event that says so, at the time of the one before.
    """
    at = made_at
    ids = connection.execute(sa.select(events.c.id).where(events.c.email_id == email_id).order_by(events.c.id))
    for event_id in ids.scalars().all():
        unreadable: list[str] = []
        values: dict[str, Any] = {}
        for column in (events.c.at, events.c.status, events.c.code, events.c.detail):
            try:
                value = connection.scalar(sa.select(column).where(events.c.id == event_id))
                values[column.name] = _EVENT_CHECKS[str(column.name)](value)
            except Exception as error:
                if not is_unreadable(error):
                    raise
                unreadable.append(column.name)
        at = values.get("at", at)
        status: EmailStatus = values.get("status", EmailStatus.UNREADABLE)
        if unreadable:
            values = {"code": CODE, "detail": f"This event cannot be read: {_list_names(unreadable)}."}
        yield Event(at=at, status=status, code=values["code"], detail=values["detail"])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _time(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError("no time")
    return value


_EVENT_CHECKS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {"at": _time, "status": EmailStatus, "code": _text, "detail": _text}
)

_SET_ASIDE = (
    emails.update()
    .where(_HAS_RAW_ID, emails.c.status.in_(_IN_QUEUE))
    .values(
        status=EmailStatus.UNREADABLE.value,
        lease_until=None,
        problem_code=CODE,
        problem_message=sa.bindparam("why"),
        problem_hint=HINT,
    )
)


def _columns(connection: sa.Connection, raw_id: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the readable columns of a row, and the names of the unreadable ones."""
    values: dict[str, Any] = {}
    unreadable: list[str] = []
    for column in emails.c:
        try:
            value = connection.scalar(sa.select(column).where(_HAS_RAW_ID), {"raw_id": raw_id})
        except Exception as error:
            if not is_unreadable(error):
                raise
            unreadable.append(column.name)
        else:
            expected = None if isinstance(column.type, sa.JSON) else column.type.python_type
            if value is None or expected is None or isinstance(value, expected):
                values[column.name] = value
            else:
                unreadable.append(column.name)
    return values, unreadable


def _column(connection: sa.Connection, raw_id: Any, name: str) -> Any:
    with suppress(ValueError, TypeError, LookupError, ArithmeticError):
        return connection.scalar(sa.select(emails.c[name]).where(_HAS_RAW_ID), {"raw_id": raw_id})
    return None


def _explain(unreadable: Sequence[str], error: BaseException) -> str:
    if unreadable:
        return f"The database row holds no valid value for {_list_names(unreadable)}."
    return f"The database row cannot be read: {_sentence(error)}."


def _sentence(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "".join(c if c.isprintable() else " " for c in text)[:120].rstrip(".")


def _list_names(columns: Sequence[str]) -> str:
    return ", ".join(columns)


def _uuid(raw_id: Any) -> UUID | None:
    with suppress(ValueError, AttributeError, TypeError):
        return raw_id if isinstance(raw_id, UUID) else UUID(str(raw_id))
    return None


def _estimate_time(email_id: UUID) -> datetime:
    with suppress(ValueError, OverflowError, OSError):
        return time_of(email_id)
    return _LONG_AGO
