"""Migrates the database to this version's schema, under a lock, so that many processes may start at once."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import sqlalchemy as sa

import outspool
from outspool.adapters.sql.clock import DatabaseClock
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import SCHEMA_VERSION
from outspool.errors import MisconfiguredError

_ADVISORY_LOCK = 0x6F757473706F6F6D  # ASCII "outspoom"; earlier versions blocked on "outspool"

_ALEMBIC = threading.Lock()
"""Alembic keeps its state in globals, so the databases of one process are migrated one after the other."""

VERSION_TABLE = "outspool_version"
"""Not Alembic's default name, which another program in the same database may use."""

_MIGRATION_SECONDS = 3600
"""Statement timeout of migrations: changing a large table takes long."""


async def schema_version(database: Database) -> str | None:
    """Return the database's Alembic revision; None if it is empty."""
    return await database.read(_read_version)


async def migrate(database: Database) -> bool:
    """Migrate the schema to `SCHEMA_VERSION`; True if anything was changed.

    One read decides first, so that Alembic is imported only when needed. Raises `MisconfiguredError` if the database
    was made by a newer outspool.
    """
    database.make_file()
    if await schema_version(database) == SCHEMA_VERSION:
        return False
    return await database.migrate(_bring_up_to_date, lock=_ADVISORY_LOCK)


class MigratedDatabase(Database):
    """A database that is migrated before its first transaction, as soon as it can be reached."""

    def __init__(self, url: str, *, clock: DatabaseClock | None = None) -> None:
        """Take the URL; nothing is opened yet. `clock` as in `Database`."""
        super().__init__(url, clock=clock)
        self._migrating = asyncio.Lock()
        self._is_ready = False

    async def _make_ready(self) -> None:
        if self._is_ready:
            return
        async with self._migrating:
            if not self._is_ready:
                async with Database(self.url, statement_seconds=_MIGRATION_SECONDS).open_until_exit() as database:
                    await migrate(database)
                self._is_ready = True


def migrations_folder() -> Path:
    """Return the folder of the migrations, in the installed package or the checkout."""
    package = Path(outspool.__file__).parent
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parent.parent / "migrations"


def _read_version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return version


def _bring_up_to_date(connection: sa.Connection) -> bool:
    version = _read_version(connection)
    if connection.dialect.name == "postgresql":
        connection.rollback()  # each migration begins a transaction of its own
    if version == SCHEMA_VERSION:
        return False  # another process has migrated it
    _upgrade(connection)
    return True


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    try:
        with _ALEMBIC:
            command.upgrade(config, "head")
    except CommandError as error:
        raise MisconfiguredError(
            "The database was made by a newer outspool.", "Upgrade outspool, or use another database."
        ) from error
