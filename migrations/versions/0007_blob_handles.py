"""Handles of stored files: random, and bound to an owner and a sender, because a digest can be guessed by anybody."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the handles. Those printed before name a digest, and nobody can tell whose they were: they end here."""
    op.create_table(
        "blob_handles",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), sa.ForeignKey("blobs.digest", ondelete="CASCADE"), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
    )
    op.create_index("blob_handles_digest", "blob_handles", ["digest"])
