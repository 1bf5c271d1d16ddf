"""An index on the end of each id, by which people name emails.

On Postgres it is built while others work, and can be broken off and begun again.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

INDEX = "INDEX {} emails_id_ending ON emails (substr(replace(CAST(id AS TEXT), '-', ''), 29))"


def upgrade() -> None:
    """Build the index."""
    if op.get_bind().dialect.name != "postgresql":
        op.execute("CREATE " + INDEX.format(""))
        return
    with op.get_context().autocommit_block():
        # What an earlier try that was broken off has left is invalid, and would stay so.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS emails_id_ending")
        op.execute("CREATE " + INDEX.format("CONCURRENTLY"))
