"""The `AbandonedCalls` port."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import abandoned_calls
from outspool.domain.principal import Scope


class SqlAbandonedCalls:
    """The abandoned calls of one database."""

    def __init__(self, database: Database) -> None:
        """Use a database that is shared with the store."""
        self._database = database

    async def remember(
        self, call: str, email_ids: Sequence[UUID], scope: Scope, *, at: datetime, since: datetime
    ) -> None:
        """See `AbandonedCalls.remember`."""
        is_same = _is_call(call, scope)
        row = {"owner": _owner(scope), "call": call, "email_ids": [str(email_id) for email_id in email_ids], "at": at}

        def write(connection: sa.Connection) -> None:
            connection.execute(abandoned_calls.delete().where(sa.or_(is_same, abandoned_calls.c.at < since)))
            connection.execute(abandoned_calls.insert().values(row))

        await self._database.write(write)

    async def list_recent(self, scope: Scope, *, since: datetime) -> Collection[str]:
        """See `AbandonedCalls.list_recent`."""
        statement = sa.select(abandoned_calls.c.call).where(
            abandoned_calls.c.owner == _owner(scope), abandoned_calls.c.at >= since
        )
        return await self._database.read(lambda connection: frozenset(connection.execute(statement).scalars()))

    async def take(self, call: str, scope: Scope, *, since: datetime) -> Sequence[UUID]:
        """See `AbandonedCalls.take`."""
        statement = (
            abandoned_calls.delete()
            .where(_is_call(call, scope))
            .returning(abandoned_calls.c.email_ids, abandoned_calls.c.at)
        )

        def take(connection: sa.Connection) -> list[UUID]:
            row = connection.execute(statement).first()
            return [] if row is None or row.at < since else [UUID(email_id) for email_id in row.email_ids]

        return await self._database.write(take)


def _is_call(call: str, scope: Scope) -> sa.ColumnElement[bool]:
    return sa.and_(abandoned_calls.c.owner == _owner(scope), abandoned_calls.c.call == call)


def _owner(scope: Scope) -> str:
    """Return the scope's owner; operators, who have none, share their calls."""
    return scope.owner or ""
