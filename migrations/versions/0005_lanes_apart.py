"""What waits, in the order of its lane, so that a claim steps over nothing that waits in others."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WAITING = sa.text("status IN ('deferred', 'queued', 'scheduled')")
PARTIAL: dict[str, Any] = {"postgresql_where": WAITING, "sqlite_where": WAITING}


def upgrade() -> None:
    """Order what waits by lane first, and what waits in each status by when it is out of time."""
    op.create_index("emails_expiring", "emails", ["status", "expires_at", "id"], **PARTIAL)
    op.create_index("emails_in_lane", "emails", ["lane", "rank", "due_at", "id"], **PARTIAL)
    # Last, for nobody reads `emails` from here to the commit. Had any release known it, it would have to stay for one.
    op.drop_index("emails_due", "emails")
