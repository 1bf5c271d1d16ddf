"""Attachments of emails, and the files that they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add what attachments need."""
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("condemned", sa.Boolean, nullable=False),
    )
    op.create_index("blobs_kept", "blobs", ["kept_until"])
    op.create_table(
        "attachments",
        sa.Column("email_id", sa.Uuid, sa.ForeignKey("emails.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("content_id", sa.Text),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(64), sa.ForeignKey("blobs.digest"), nullable=False),
    )
    op.create_index("attachments_digest", "attachments", ["digest"])
    op.add_column("emails", sa.Column("attached", sa.Integer, nullable=False, server_default="0"))
