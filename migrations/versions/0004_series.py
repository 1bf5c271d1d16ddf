"""Series of emails: their rule, and which of them made an email for which time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

RECURRING = sa.text("status = 'recurring'")
MADE_BY_A_SERIES = sa.text("series_id IS NOT NULL")


def upgrade() -> None:
    """Add what an email has that is a series, or was made by one."""
    op.add_column("emails", sa.Column("recurrence", sa.JSON))
    op.add_column("emails", sa.Column("series_id", sa.Uuid))
    op.add_column("emails", sa.Column("occurs_at", sa.DateTime(timezone=True)))
    op.create_index("emails_recurring", "emails", ["due_at", "id"], postgresql_where=RECURRING, sqlite_where=RECURRING)
    op.create_index(
        "emails_series",
        "emails",
        ["series_id", "id"],
        postgresql_where=MADE_BY_A_SERIES,
        sqlite_where=MADE_BY_A_SERIES,
    )
    # Whatever crashes, there is never a second email for the same time.
    op.create_index(
        "emails_occurrence",
        "emails",
        ["series_id", "occurs_at"],
        unique=True,
        postgresql_where=MADE_BY_A_SERIES,
        sqlite_where=MADE_BY_A_SERIES,
    )
