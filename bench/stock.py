"""Fills a queue with copies of one email as fast as the database can copy rows, and makes them due all at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import sqlalchemy as sa

from outspool.adapters.sql.tables import emails, events, recipients
from outspool.app.runtime import Outspool
from outspool.domain.schedule import When
from outspool.services.acceptance.validation import EmailRequest

_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {copies})"
# The template's own id, with the copy's number at its end: UUIDv7 all the same, in the order of the numbers.
_POSTGRES_ID = "overlay(CAST(t.{key} AS text) placing lpad(to_hex(n), 12, '0') from 25)::uuid"
_SQLITE_ID = "substr(t.{key}, 1, 20) || printf('%012x', n)"


@dataclass(frozen=True, slots=True)
class Stock:
    """Emails put into the queue together; their ids differ in the last 48 bits alone."""

    outspool: Outspool
    first: UUID
    count: int

    async def release(self) -> None:
        """Make all of them due now, and tell the workers."""
        first, last = self._key(self.first.int >> 48 << 48), self._key(self.first.int | (1 << 48) - 1)
        moment = self._moment(datetime.now(UTC))
        await self._execute(f"UPDATE emails SET due_at = '{moment}' WHERE id BETWEEN '{first}' AND '{last}'")  # noqa: S608

    async def schedule(self, first: datetime, *, over: timedelta) -> None:
        """Make one after another due, the first at `first`; each says when in its address, in microseconds."""
        times = [first + over * nth / self.count for nth in range(self.count)]
        statements = []
        for nth, at in enumerate(times):
            key = self._key(self.first.int >> 48 << 48 | nth) if nth else self._key(self.first.int)
            address = f"d{round(at.timestamp() * 1e6)}@example.com"
            statements += [
                f"UPDATE emails SET due_at = '{self._moment(at)}' WHERE id = '{key}'",  # noqa: S608
                f"UPDATE recipients SET address = '{address}' WHERE email_id = '{key}'",  # noqa: S608
            ]
        await self._execute(*statements)

    def _key(self, number: int) -> str:
        return str(UUID(int=number)) if self.outspool.database.is_postgres else UUID(int=number).hex

    def _moment(self, at: datetime) -> str:
        return str(at) if self.outspool.database.is_postgres else f"{at:%Y-%m-%d %H:%M:%S.%f}"

    async def _execute(self, *statements: str) -> None:
        if self.outspool.database.is_postgres:
            await _on_postgres(self.outspool, *statements, "NOTIFY outspool")
        else:
            _on_sqlite(self.outspool, *statements)


async def stock(outspool: Outspool, draft: EmailRequest, count: int) -> Stock:
    """Put `count` emails into the queue, all but the first as copies of it; none is due before `release`."""
    email = await outspool.outbox.accept(draft, when=When(delay="PT1H"))
    if count > 1 and outspool.database.is_postgres:
        await _on_postgres(outspool, *(_copy(t, count - 1, _POSTGRES_ID, str(email.id)) for t in _OWN))
    elif count > 1:
        _on_sqlite(outspool, *(_copy(t, count - 1, _SQLITE_ID, email.id.hex) for t in _OWN))
    return Stock(outspool, email.id, count)


_OWN: Mapping[sa.Table, Mapping[str, str]] = {
    emails: {"id": "{id}", "message_id": "replace(t.message_id, '<', '<' || n || '.')"},
    recipients: {"email_id": "{id}"},
    events: {"email_id": "{id}", "id": ""},
}
"""What a copy has of its own; what is empty the database gives it."""


def _copy(table: sa.Table, copies: int, new_id: str, template: str) -> str:
    own = _OWN[table]
    names = [column.name for column in table.c if own.get(column.name) != ""]
    key = "id" if table is emails else "email_id"
    new_id = new_id.format(key=key)
    values = [own[name].format(id=new_id) if name in own else f't."{name}"' for name in names]
    columns = ", ".join(f'"{name}"' for name in names)
    source = f"{_NUMBERS.format(copies=copies)} SELECT {', '.join(values)} FROM {table.name} AS t, numbers"  # noqa: S608
    return f"INSERT INTO {table.name} ({columns}) {source} WHERE t.{key} = '{template}'"


async def _on_postgres(outspool: Outspool, *statements: str) -> None:
    connection = await asyncpg.connect(outspool.database.url)
    try:
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement)
    finally:
        await connection.close()


def _on_sqlite(outspool: Outspool, *statements: str) -> None:
    connection = sqlite3.connect(outspool.database.sqlite_path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    finally:
        connection.close()
