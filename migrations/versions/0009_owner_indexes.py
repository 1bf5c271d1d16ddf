"""Indexes by owner, and owners for the emails of before.

On Postgres this is done while others work: indexes are built concurrently, and rows are filled in batches. It can be
broken off at any point and begun again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

OWNER = "coalesce(owner, CASE WHEN (lane = 'sandbox') THEN 'sandbox' ELSE 'local' END)"
BATCH = 5000
INDEXES = {
    "emails_owner": f"INDEX {{}} emails_owner ON emails ({OWNER}, id)",
    "emails_owner_status": f"INDEX {{}} emails_owner_status ON emails ({OWNER}, status, id)",
    "emails_owner_key": "UNIQUE INDEX {} emails_owner_key ON emails (owner, owner_key) WHERE owner_key IS NOT NULL",
}
EVENTS_INDEX = {"events_xact": "INDEX {} events_xact ON events (xact NULLS FIRST, id)"}
FILL = sa.text(f"UPDATE emails SET owner = {OWNER} WHERE owner IS NULL")  # noqa: S608 - a constant
# What a worker holds at this moment is skipped: without an owner it reads the same.
FILL_BATCH = sa.text(
    f"UPDATE emails SET owner = {OWNER} WHERE id IN "  # noqa: S608 - a constant
    "(SELECT id FROM emails WHERE owner IS NULL AND id > :after ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED) "
    "RETURNING id"
)


def upgrade() -> None:
    """Build the indexes, then fill the column."""
    if op.get_bind().dialect.name != "postgresql":
        for statement in INDEXES.values():
            op.execute("CREATE " + statement.format(""))
        op.execute(FILL)
        return
    with op.get_context().autocommit_block():
        for name, statement in {**INDEXES, **EVENTS_INDEX}.items():
            # What an earlier try that was broken off has left is invalid, and would stay so.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute("CREATE " + statement.format("CONCURRENTLY"))
        _fill()


def _fill() -> None:
    connection = op.get_bind()
    after = sa.UUID().python_type(int=0)
    while filled := connection.execute(FILL_BATCH, {"after": after, "batch": BATCH}).scalars().all():
        after = max(filled)
