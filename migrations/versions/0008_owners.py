"""Whose each email is and by which program it was asked for; who caused each event, and in which transaction."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from outspool.adapters.sql.tables import TransactionId

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns. Processes of the version before go on writing rows without them."""
    for name in ("owner", "agent", "client"):
        op.add_column("emails", sa.Column(name, sa.Text))
    op.add_column("emails", sa.Column("owner_key", sa.String(256)))
    for name in ("actor", "actor_agent"):
        op.add_column("events", sa.Column(name, sa.Text))
    op.add_column("events", sa.Column("actor_role", sa.String(16)))
    op.add_column("events", sa.Column("xact", TransactionId().with_variant(sa.BigInteger(), "sqlite")))
    if op.get_bind().dialect.name == "postgresql":
        # As a default, so that the events of older processes have it too. Set after the column was added: added with
        # it, every event of the past would be rewritten.
        op.alter_column("events", "xact", server_default=sa.text("pg_current_xact_id()"))
