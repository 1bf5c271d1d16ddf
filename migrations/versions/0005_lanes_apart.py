"""What waits, in the order of its lane, so that a claim steps over nothing that waits in others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WAITING = sa.text("status IN ('deferred', 'queued', 'scheduled')")


def upgrade() -> None:
    """Order what waits by lane first, and all that waits by when it is out of time."""
    op.drop_index("emails_due", "emails")
    op.create_index(
        "emails_due", "emails", ["lane", "rank", "due_at", "id"], postgresql_where=WAITING, sqlite_where=WAITING
    )
    # By status first, or SQLite would rather read all that waits than a range of what is out of time.
    op.create_index(
        "emails_expiring", "emails", ["status", "expires_at"], postgresql_where=WAITING, sqlite_where=WAITING
    )
