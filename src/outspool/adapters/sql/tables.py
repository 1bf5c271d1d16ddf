"""The tables as SQLAlchemy Core sees them. `migrations/` creates them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from outspool.domain.identity import SANDBOX_IDENTITY
from outspool.domain.principal import LOCAL_USER, SANDBOX_USER
from outspool.domain.status import CLAIMABLE, EmailStatus

SCHEMA_VERSION = "0011"
"""The Alembic revision that this code needs."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A UTC datetime with zone on every database; SQLite itself would drop the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """The Python type of a value."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC; `ValueError` for a time without zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the store")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC, with zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class TransactionId(sa.types.UserDefinedType[int]):
    """Postgres's ``xid8``: transaction ids that never wrap around."""

    cache_ok = True

    def get_col_spec(self, **_kw: object) -> str:
        """Return the SQL name of the type."""
        return "xid8"


metadata = sa.MetaData()

emails = sa.Table(
    "emails",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    # The address of the identity that sends it.
    sa.Column("lane", sa.Text, nullable=False),
    # The owner, the agent that submitted it, and that MCP client's name and version. NULL in rows of versions without
    # owners: use `OWNER`.
    sa.Column("owner", sa.Text),
    sa.Column("agent", sa.Text),
    sa.Column("client", sa.Text),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False, default=0),
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
    sa.Column("date", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("scheduled_at", UtcDateTime),
    # The zone in which the time was given: an IANA name or an offset.
    sa.Column("timezone", sa.Text),
    sa.Column("due_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("problem_code", sa.Text),
    sa.Column("problem_message", sa.Text),
    sa.Column("problem_hint", sa.Text),
    # Keys belong to owners (`owner_key`). Versions without owners look them up in this column by lane, so it is still
    # written for owners that those versions can have written for.
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("owner_key", sa.String(256)),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    # Number of attachments, so that emails without any need no lookup.
    sa.Column("attached", sa.Integer, nullable=False, server_default="0"),
    sa.Column("lease", sa.Uuid),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("marked_at", UtcDateTime),
    sa.Column("recurrence", sa.JSON(none_as_null=True)),
    sa.Column("series_id", sa.Uuid),
    sa.Column("occurs_at", UtcDateTime),
    sa.Column("policy_override", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("lane", "idempotency_key", name="emails_key"),
)

OWNER = sa.func.coalesce(
    emails.c.owner,
    sa.case(
        (
            emails.c.lane == sa.literal_column(f"'{SANDBOX_IDENTITY}'", sa.Text),
            sa.literal_column(f"'{SANDBOX_USER}'", sa.Text),
        ),
        else_=sa.literal_column(f"'{LOCAL_USER}'", sa.Text),
    ),
)
"""The owner, also of rows that a version without owners wrote. The index is on this very expression."""

ID_DIGITS = sa.func.replace(sa.cast(emails.c.id, sa.Text), sa.literal_column("'-'"), sa.literal_column("''"))
"""The id as 32 hexadecimal digits."""

ID_ENDING = sa.func.substr(ID_DIGITS, sa.literal_column("29"))
"""The last four digits of the id. The index is on this very expression."""

sa.Index("emails_id_ending", ID_ENDING, _table=emails)  # SQLAlchemy finds no column inside a cast

sa.Index("emails_owner", OWNER, emails.c.id)
sa.Index("emails_owner_status", OWNER, emails.c.status, emails.c.id)
_has_key = emails.c.owner_key.is_not(None)
sa.Index(
    "emails_owner_key",
    emails.c.owner,
    emails.c.owner_key,
    unique=True,
    postgresql_where=_has_key,
    sqlite_where=_has_key,
)

_waiting = emails.c.status.in_([sa.literal_column(f"'{s}'") for s in sorted(CLAIMABLE)])
_leased = emails.c.status == sa.literal_column(f"'{EmailStatus.SENDING}'")
sa.Index(
    "emails_in_lane",
    emails.c.lane,
    emails.c.rank,
    emails.c.due_at,
    emails.c.id,
    postgresql_where=_waiting,
    sqlite_where=_waiting,
)
sa.Index(
    "emails_expiring",
    emails.c.status,
    emails.c.expires_at,
    emails.c.id,
    postgresql_where=_waiting,
    sqlite_where=_waiting,
)
sa.Index("emails_leased", emails.c.lease_until, postgresql_where=_leased, sqlite_where=_leased)
sa.Index("emails_status", emails.c.status, emails.c.id)

_recurring = emails.c.status == sa.literal_column(f"'{EmailStatus.RECURRING}'")
sa.Index("emails_recurring", emails.c.due_at, emails.c.id, postgresql_where=_recurring, sqlite_where=_recurring)
_made_by_a_series = emails.c.series_id.is_not(None)
sa.Index(
    "emails_series",
    emails.c.series_id,
    emails.c.id,
    postgresql_where=_made_by_a_series,
    sqlite_where=_made_by_a_series,
)
sa.Index(
    "emails_occurrence",
    emails.c.series_id,
    emails.c.occurs_at,
    unique=True,
    postgresql_where=_made_by_a_series,
    sqlite_where=_made_by_a_series,
)

recipients = sa.Table(
    "recipients",
    metadata,
    sa.Column("email_id", sa.Uuid, sa.ForeignKey("emails.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(3), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("code", sa.Integer),
    sa.Column("enhanced_code", sa.String(16)),
    sa.Column("reply", sa.Text),
)
sa.Index("recipients_address", sa.func.lower(recipients.c.address), recipients.c.email_id)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("tag", sa.String(64), primary_key=True),
    sa.Column("email_id", sa.Uuid, sa.ForeignKey("emails.id", ondelete="CASCADE"), primary_key=True),
)

sa.Index("tags_email", tags.c.email_id)

attachments = sa.Table(
    "attachments",
    metadata,
    sa.Column("email_id", sa.Uuid, sa.ForeignKey("emails.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("content_id", sa.Text),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), sa.ForeignKey("blobs.digest"), nullable=False),
)
sa.Index("attachments_digest", attachments.c.digest)

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("kept_until", UtcDateTime, nullable=False),
    sa.Column("condemned", sa.Boolean, nullable=False),
)
sa.Index("blobs_kept", blobs.c.kept_until)

blob_handles = sa.Table(
    "blob_handles",
    metadata,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("digest", sa.String(64), sa.ForeignKey("blobs.digest", ondelete="CASCADE"), nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("lane", sa.Text, nullable=False),
)
sa.Index("blob_handles_digest", blob_handles.c.digest)

events = sa.Table(
    "events",
    metadata,
    # SQLite counts rows only in a column declared INTEGER.
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("email_id", sa.Uuid, sa.ForeignKey("emails.id", ondelete="CASCADE"), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    # The principal that caused it; NULL for outspool itself.
    sa.Column("actor", sa.Text),
    sa.Column("actor_agent", sa.Text),
    sa.Column("actor_role", sa.String(16)),
    # The writing transaction, because ids alone are not in commit order; see `SqlEventFeed`.
    sa.Column(
        "xact",
        TransactionId().with_variant(sa.BigInteger(), "sqlite"),
        server_default=sa.text("pg_current_xact_id()"),
    ),
)
sa.Index("events_xact", events.c.xact.nulls_first(), events.c.id).ddl_if(dialect="postgresql")
sa.Index("events_email", events.c.email_id, events.c.id)

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("paused_until", UtcDateTime),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("hint", sa.Text, nullable=False),
    sa.Column("credential", sa.Text, nullable=False),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seen_at", UtcDateTime, nullable=False),
    sa.Column("skew_seconds", sa.Float),
    # True if it ends with its client; NULL from versions that did not say.
    sa.Column("is_temporary", sa.Boolean),
    # The address of the identity whose emails it sends; NULL from versions that did not say.
    sa.Column("identity", sa.Text),
)

abandoned_calls = sa.Table(
    "abandoned_calls",
    metadata,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("call", sa.String(64), primary_key=True),
    sa.Column("email_ids", sa.JSON, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
)

meters = sa.Table(
    "meters",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("last_at", UtcDateTime, nullable=False),
)

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("meter", sa.Text, primary_key=True),
    sa.Column("total", sa.BigInteger, primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
)
