"""Meters, which keep the caps over all processes; how far each worker's clock is off; the tags of an email."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add what caps and clocks need."""
    op.create_table(
        "meters",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
    )
    op.create_table(
        "readings",
        sa.Column("meter", sa.Text, primary_key=True),
        sa.Column("total", sa.BigInteger, primary_key=True),
        sa.Column("at", TIME, nullable=False),
    )
    op.create_index("tags_email", "tags", ["email_id"])
    op.add_column("workers", sa.Column("skew_seconds", sa.Float))
