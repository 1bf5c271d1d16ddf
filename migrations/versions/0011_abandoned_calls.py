"""Calls that a client abandoned after their emails were accepted, workers that outlive clients, and zones of times."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "abandoned_calls",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("call", sa.String(64), primary_key=True),
        sa.Column("email_ids", sa.JSON, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.add_column("workers", sa.Column("is_temporary", sa.Boolean))
    op.add_column("workers", sa.Column("identity", sa.Text))
    op.add_column("emails", sa.Column("timezone", sa.Text))
