"""`Account` on SQLAlchemy Core: one row that all processes read and write."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql_schema import MigratedDatabase
from outspool.adapters.sql_tables import accounts
from outspool.adapters.sql_watch import ChangeWatch
from outspool.ports import AccountState


class SqlAccount:
    """The state of one SMTP account, by its name."""

    def __init__(self, database: MigratedDatabase, changes: ChangeWatch, *, name: str) -> None:
        """Keep the state under `name`, which tells accounts apart and holds no secret."""
        self.database = database
        self._changes = changes
        self._name = name

    async def state(self) -> AccountState:
        """See `Account.state`."""
        statement = sa.select(accounts).where(accounts.c.name == self._name)
        row = await self.database.read(lambda connection: connection.execute(statement).mappings().one_or_none())
        if row is None:
            return AccountState()
        return AccountState(
            paused_until=row["paused_until"],
            failures=row["failures"],
            kind=row["kind"],
            message=row["message"],
            hint=row["hint"],
            credential=row["credential"],
        )

    async def set_state(self, state: AccountState) -> None:
        """See `Account.set_state`."""
        insert = postgresql.insert if self.database.is_postgres else sqlite.insert
        values = {
            "paused_until": state.paused_until,
            "failures": state.failures,
            "kind": state.kind,
            "message": state.message,
            "hint": state.hint,
            "credential": state.credential,
        }
        statement = insert(accounts).values(name=self._name, **values)
        statement = statement.on_conflict_do_update(index_elements=["name"], set_=values)

        def save(connection: sa.Connection) -> None:
            connection.execute(statement)
            self._changes.notify(connection)

        await self.database.write(save)
        self._changes.announce(due=True)

    async def take_probe(self, *, now: datetime, until: datetime) -> bool:
        """See `Account.take_probe`."""
        statement = (
            accounts.update()
            .where(
                accounts.c.name == self._name,
                accounts.c.failures > 0,
                sa.or_(accounts.c.paused_until.is_(None), accounts.c.paused_until <= now),
            )
            .values(paused_until=until)
            .returning(accounts.c.name)
        )
        return await self.database.write(lambda connection: connection.scalar(statement)) is not None
