"""The outbox: emails, their recipients, tags and events; the account's state; the workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
WAITING = sa.text("status IN ('deferred', 'queued', 'scheduled')")
LEASED = sa.text("status = 'sending'")


def upgrade() -> None:
    """Make every table of the first release."""
    _emails()
    _parts_of_an_email()
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("paused_until", TIME),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("credential", sa.Text, nullable=False),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("seen_at", TIME, nullable=False),
    )


def _emails() -> None:
    op.create_table(
        "emails",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("from_address", sa.Text, nullable=False),
        sa.Column("from_name", sa.Text, nullable=False),
        sa.Column("reply_to", sa.JSON, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("html", sa.Text),
        sa.Column("in_reply_to", sa.Text),
        sa.Column("references", sa.JSON, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("priority", sa.String(8), nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("date", TIME, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("scheduled_at", TIME),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("sent_at", TIME),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("problem_code", sa.Text),
        sa.Column("problem_message", sa.Text),
        sa.Column("problem_hint", sa.Text),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("lease", sa.Uuid),
        sa.Column("lease_until", TIME),
        sa.Column("marked_at", TIME),
        sa.UniqueConstraint("lane", "idempotency_key", name="emails_key"),
    )
    # Partial: with millions of rows of history the queue's own index stays small.
    op.create_index("emails_due", "emails", ["rank", "due_at", "id"], postgresql_where=WAITING, sqlite_where=WAITING)
    op.create_index("emails_leased", "emails", ["lease_until"], postgresql_where=LEASED, sqlite_where=LEASED)
    op.create_index("emails_status", "emails", ["status", "id"])


def _parts_of_an_email() -> None:
    def email_id(*, primary_key: bool = False) -> sa.Column[object]:
        owner = sa.ForeignKey("emails.id", ondelete="CASCADE")
        return sa.Column("email_id", sa.Uuid, owner, primary_key=primary_key, nullable=False)

    op.create_table(
        "recipients",
        email_id(primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(3), nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("code", sa.Integer),
        sa.Column("enhanced_code", sa.String(16)),
        sa.Column("reply", sa.Text),
    )
    op.create_index("recipients_address", "recipients", [sa.text("lower(address)"), "email_id"])
    op.create_table(
        "tags",
        sa.Column("tag", sa.String(64), primary_key=True),
        email_id(primary_key=True),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        email_id(),
        sa.Column("at", TIME, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("events_email", "events", ["email_id", "id"])
