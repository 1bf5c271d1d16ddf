"""That an operator sends an email whatever the policy says; and one set of indexes, whichever text 0005 had."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

WAITING = sa.text("status IN ('deferred', 'queued', 'scheduled')")
PARTIAL: dict[str, Any] = {"postgresql_where": WAITING, "sqlite_where": WAITING}
EXPIRING = ["status", "expires_at", "id"]


def upgrade() -> None:
    """Add the column, and bring the indexes of a database that an earlier text of 0005 made to those of the last."""
    op.add_column("emails", sa.Column("policy_override", sa.Boolean, nullable=False, server_default=sa.false()))
    indexes = {index["name"]: index["column_names"] for index in sa.inspect(op.get_bind()).get_indexes("emails")}
    if indexes.get("emails_expiring") != EXPIRING:
        if "emails_expiring" in indexes:
            op.drop_index("emails_expiring", "emails")
        op.create_index("emails_expiring", "emails", EXPIRING, **PARTIAL)
    if "emails_in_lane" not in indexes:
        op.create_index("emails_in_lane", "emails", ["lane", "rank", "due_at", "id"], **PARTIAL)
    if "emails_due" in indexes:
        op.drop_index("emails_due", "emails")
