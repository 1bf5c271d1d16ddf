"""The schema: made once by whoever comes first, the same as the code's tables, and never older than the code thinks."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from support.outbox_samples import an_email, outlet

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.schema import VERSION_TABLE, migrate, migrations_folder, schema_version
from outspool.adapters.sql.tables import SCHEMA_VERSION, TransactionId, metadata
from outspool.errors import MisconfiguredError


async def test_the_code_was_written_for_the_newest_migration() -> None:
    assert ScriptDirectory(str(migrations_folder())).get_current_head() == SCHEMA_VERSION


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLite's are checked by their use alone
async def test_the_migrations_make_the_tables_that_the_code_uses(database_url: str) -> None:
    async with Database(database_url).opened() as database:
        assert await migrate(database)
        assert not await migrate(database)
        assert await database.read(_differences) == []


def _differences(connection: sa.Connection) -> list[Any]:
    postgresql.base.ischema_names["xid8"] = TransactionId  # which SQLAlchemy has no type for
    return list(
        compare_metadata(
            MigrationContext.configure(
                connection,
                opts={"compare_type": True, "version_table": VERSION_TABLE, "include_object": _is_comparable},
            ),
            metadata,
        )
    )


def _is_comparable(_thing: object, name: str | None, kind: str, _is_reflected: object, _other: object) -> bool:
    """Leave out indexes over expressions that Postgres writes in its own way, and one that only Postgres has.

    Query plans show that these are there and used (`test_query_plans`, `test_event_feed`).
    """
    return kind != "index" or name not in {"emails_owner", "emails_owner_status", "events_xact"}


async def test_ten_processes_that_start_at_once_make_one_schema(database_url: str, tmp_path: Path) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "outspool", "migrate"),
            env={"DATABASE_URL": database_url, "OUTSPOOL_DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        for _ in range(10)
    ]
    outputs = [(await process.communicate())[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 10, outputs
    async with outlet(database_url) as box:
        assert await schema_version(box.database) == SCHEMA_VERSION
        await box.accept(an_email())


async def test_a_database_of_a_newer_outspool_is_left_alone(database_url: str) -> None:
    async with Database(database_url).opened() as database:
        await migrate(database)
        newer = sa.text("UPDATE outspool_version SET version_num = '9999'")
        await database.write(lambda connection: connection.execute(newer))
        with pytest.raises(MisconfiguredError, match="newer outspool"):
            await migrate(database)
        assert await schema_version(database) == "9999"
