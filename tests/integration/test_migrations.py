"""Migrations: run once by the first process, with the same tables as the code's, never behind the code."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
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

from outspool.adapters.sql import schema as sql_schema
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.schema import VERSION_TABLE, migrate, migrations_folder, schema_version
from outspool.adapters.sql.tables import SCHEMA_VERSION, TransactionId, metadata
from outspool.errors import MisconfiguredError

DIGESTS = {
    "0001_outbox.py": "82995b71960e8884ea005f99f8380c12e977cebe5936b0279927070f38d01876",
    "0002_meters.py": "be013559dafefb325aeead93e5ae4bdfa61900019e85b226f9c93b61402c0a1b",
    "0003_attachments.py": "e253cd5811fd9708415fea9de9badcdcbf04068af946ff18cc6d9d87a4e34924",
    "0004_series.py": "5d62bcd2cdaff7a4c97cdfeb56745c0132e08352534bea93ffeeea1d17177385",
    "0005_lanes_apart.py": "92c46723638cbbaadc7809613c6e7207cf90478ecbecfdf896fd559ae4445830",
    "0006_policy_override.py": "62ac326396b8becf55a8802d1d39ed082f2594227e7d7f53524711a4e043c6d9",
    "0007_blob_handles.py": "882d07c2533c6e78914554d72dc05cc02da6db6754800ff561fd1d81468e220c",
    "0008_owners.py": "87bf4f4ab553afba8f1fe69978662fd7ddb99f6204b3596b6ccafa5b4f197cb5",
    "0009_owner_indexes.py": "4a003d5e440ded05a4f73f69970d8e7216821ab7789e659dcd9e9d07e24ea496",
    "0010_id_endings.py": "b5719a1151efb28ee0f89a602fd8a0a027d9619462b4bbdbdb1ecd8d5eec9659",
    "0011_abandoned_calls.py": "bbced0fbbdea1eb907be678b48546c476cdfa9d329dedca205c0c448fff274f0",
}
"""Of each migration that has landed. A new one gets a new line; what is here never changes."""

_WAITING = "sa.text(\"status IN ('deferred', 'queued', 'scheduled')\")"
FORMER_TEXTS_OF_0005 = {
    "expiring by time": """
    op.drop_index("emails_due", "emails")
    op.create_index("emails_due", "emails", ["lane", "rank", "due_at", "id"], **PARTIAL)
    op.create_index("emails_expiring", "emails", ["expires_at", "id"], **PARTIAL)
""",
    "expiring by status": """
    op.drop_index("emails_due", "emails")
    op.create_index("emails_due", "emails", ["lane", "rank", "due_at", "id"], **PARTIAL)
    op.create_index("emails_expiring", "emails", ["status", "expires_at"], **PARTIAL)
""",
    "in lanes": """
    op.create_index("emails_expiring", "emails", ["status", "expires_at", "id"], **PARTIAL)
    op.create_index("emails_in_lane", "emails", ["lane", "rank", "due_at", "id"], **PARTIAL)
    op.drop_index("emails_due", "emails")
""",
}
"""What 0005 said before it was edited, twice, after it had landed; and what it says."""


def test_a_landed_migration_is_never_edited() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((migrations_folder() / "versions").glob("*.py"))
    }
    assert found == DIGESTS, "Write a new migration instead, and add its digest."


@pytest.mark.filterwarnings("ignore:.*expression-based index")
@pytest.mark.parametrize("text", FORMER_TEXTS_OF_0005)
async def test_whichever_text_0005_had_a_database_ends_at_one_schema(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(migrations_folder(), folder)
    for newer in (folder / "versions").glob("[0-9]*.py"):
        if newer.name > "0006":
            newer.unlink()
    former = folder / "versions" / "0005_lanes_apart.py"
    former.write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\nrevision = '0005'\ndown_revision = '0004'\n"
        f"WAITING = {_WAITING}\nPARTIAL = {{'postgresql_where': WAITING, 'sqlite_where': WAITING}}\n\n"
        f"def upgrade():{FORMER_TEXTS_OF_0005[text]}"
    )
    async with Database(database_url).open_until_exit() as database:
        with monkeypatch.context() as as_then:
            as_then.setattr(sql_schema, "migrations_folder", lambda: folder)
            assert await migrate(database)
        assert await schema_version(database) == "0005"
        assert await migrate(database)
        assert await database.read(_indexes) == {
            "emails_in_lane": ["lane", "rank", "due_at", "id"],
            "emails_expiring": ["status", "expires_at", "id"],
            **dict.fromkeys(("emails_due",)),
        }
    async with outlet(database_url) as box:
        email = await box.accept(an_email())
        assert [claimed.id for claimed in await box.claim()] == [email.id]


def _indexes(connection: sa.Connection) -> dict[str, Any]:
    indexes = {index["name"]: index["column_names"] for index in sa.inspect(connection).get_indexes("emails")}
    return {name: indexes.get(name) for name in ("emails_in_lane", "emails_expiring", "emails_due")}


async def test_the_code_was_written_for_the_newest_migration() -> None:
    assert ScriptDirectory(str(migrations_folder())).get_current_head() == SCHEMA_VERSION


@pytest.mark.filterwarnings("ignore:.*expression-based index")  # SQLite's are checked by their use alone
async def test_the_migrations_make_the_tables_that_the_code_uses(database_url: str) -> None:
    async with Database(database_url).open_until_exit() as database:
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
    return kind != "index" or name not in {"emails_id_ending", "emails_owner", "emails_owner_status", "events_xact"}


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
    async with Database(database_url).open_until_exit() as database:
        await migrate(database)
        newer = sa.text("UPDATE outspool_version SET version_num = '9999'")
        await database.write(lambda connection: connection.execute(newer))
        with pytest.raises(MisconfiguredError, match="newer outspool"):
            await migrate(database)
        assert await schema_version(database) == "9999"
