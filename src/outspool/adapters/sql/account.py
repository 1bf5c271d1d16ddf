"""The `Account` port: the shared state of an SMTP account, one row, changed by compare-and-swap."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.tables import accounts
from outspool.adapters.sql.unreadable import is_unreadable
from outspool.adapters.sql.watch import ChangeWatch
from outspool.ports.account import AccountState

logger = logging.getLogger(__name__)


class SqlAccount:
    """The state of one SMTP account."""

    def __init__(self, database: MigratedDatabase, changes: ChangeWatch, *, name: str) -> None:
        """Store the state under `name`, the account's login; it contains no secret."""
        self.database = database
        self._changes = changes
        self.name = name

    async def state(self) -> AccountState:
        """See `Account.state`."""
        statement = sa.select(accounts).where(accounts.c.name == self.name)
        try:
            return await self.database.read(lambda connection: _read(connection, statement))
        except Exception as error:
            if not is_unreadable(error):
                raise
        # An unreadable state is deleted instead of blocking the account: the next failure pauses the account again.
        logger.error("the state of the SMTP account cannot be read in the database; it is taken to be well")
        deletion = accounts.delete().where(accounts.c.name == self.name)
        await self.database.write(lambda connection: connection.execute(deletion))
        return AccountState()

    async def swap(self, before: AccountState, state: AccountState) -> bool:
        """See `Account.swap`."""
        statement = self._upsert(before, state) if before == AccountState() else self._update(before, state)

        def save(connection: sa.Connection) -> bool:
            if connection.scalar(statement) is None:
                return False
            self._changes.notify(connection)
            return True

        is_saved = await self.database.write(save)
        if is_saved:
            self._changes.announce(due=True)
        return is_saved

    def _update(self, before: AccountState, state: AccountState) -> sa.Executable:
        is_own = accounts.c.name == self.name
        return accounts.update().where(is_own, _is_unchanged(before)).values(_values(state)).returning(accounts.c.name)

    def _upsert(self, before: AccountState, state: AccountState) -> sa.Executable:
        """The row may not exist yet, if the account never had trouble."""
        insert = postgresql.insert if self.database.is_postgres else sqlite.insert
        statement = insert(accounts).values(name=self.name, **_values(state))
        return statement.on_conflict_do_update(
            index_elements=["name"], set_=_values(state), where=_is_unchanged(before)
        ).returning(accounts.c.name)


def _read(connection: sa.Connection, statement: sa.Select[Any]) -> AccountState:
    """Return the state in the row that `statement` selects, or a healthy one; `ValueError` if it is invalid."""
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        return AccountState()
    if not isinstance(row["failures"], int):
        raise ValueError("failures is no number")  # noqa: TRY004 - the same error for everything unreadable
    return AccountState(**{name: row[name] for name in _values(AccountState())})


def _is_unchanged(before: AccountState) -> sa.ColumnElement[bool]:
    """Compare the two columns of which every change alters at least one: the failure count and the end of the pause."""
    return sa.and_(
        accounts.c.failures == before.failures, accounts.c.paused_until.is_not_distinct_from(before.paused_until)
    )


def _values(state: AccountState) -> dict[str, Any]:
    return {
        "paused_until": state.paused_until,
        "failures": state.failures,
        "kind": state.kind,
        "message": state.message,
        "hint": state.hint,
        "credential": state.credential,
    }
