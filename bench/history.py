"""Years of old mail for a Postgres database, made by the database itself: some minutes for ten million emails.

Of a hundred emails 94 were sent, 2 failed, 1 each partial, canceled, bounced and unknown; one in a thousand waits for
a time to come. Each has one of 50,000 recipients and two events, every tenth one of 40 tags.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg
import sqlalchemy as sa

from outspool.adapters.sql.tables import emails, events, recipients
from outspool.app.runtime import Outspool
from outspool.domain.schedule import When
from outspool.services.acceptance.validation import EmailRequest

SPAN_DAYS = 90
TAGS, RECIPIENTS = 40, 50_000
RARE_EVERY = 100_000
"""One subject in so many holds the word ``albatross``."""

_STATUS = """CASE WHEN n % 1000 = 999 THEN 'scheduled' ELSE (ARRAY['failed','failed','partial','canceled','bounced',
    'unknown'])[n % 100 + 1] END"""
_CREATED = "timestamptz '{end}' - interval '{days} days' * (1 - n::float8 / {rows})"
_ID = """(lpad(to_hex((extract(epoch FROM created) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
    || '8' || lpad(to_hex(n), 15, '0'))::uuid"""
_TO = f"'user' || n % {RECIPIENTS} || '@example.com'"

_NUMBERS = f"""(SELECT n, created, coalesce({_STATUS}, 'sent') AS status, {_ID} AS id FROM
    (SELECT n, {{created}} AS created FROM generate_series(1, {{rows}}) AS n) AS numbered) AS x"""  # noqa: S608 - ours

_OWN: Mapping[sa.Table, Mapping[str, str]] = {
    emails: {
        "id": "x.id",
        "message_id": "'<' || x.id || '@example.com>'",
        "status": "x.status",
        "subject": f"CASE WHEN n % {RARE_EVERY} = 7 THEN 'The albatross' ELSE 'Order ' || n || ' is on its way' END",
        "body": "repeat('Line ' || n || ' of a short text. ', 12)",
        "tags": f"CASE WHEN n % 10 = 0 THEN json_build_array('tag' || n / 10 % {TAGS}) ELSE '[]'::json END",
        "date": "created",
        "created_at": "created",
        "due_at": "CASE WHEN x.status = 'scheduled' THEN timestamptz '{end}' + interval '30 days' ELSE created END",
        "expires_at": "timestamptz '{end}' + interval '60 days'",
        "sent_at": "CASE WHEN x.status IN ('sent', 'partial', 'bounced') THEN created END",
        "scheduled_at": "CASE WHEN x.status = 'scheduled' THEN timestamptz '{end}' + interval '30 days' END",
        "attempts": "1",
        "version": "3",
    },
    recipients: {
        "email_id": "x.id",
        "address": _TO,
        "status": "CASE x.status WHEN 'sent' THEN 'sent' ELSE t.status END",
    },
    events: {"email_id": "x.id", "at": "created", "id": "", "status": "x.status"},
}
"""What an old email has of its own; what is empty the database gives it; all else is the template's."""


async def write_history(outspool: Outspool, rows: int, *, until: datetime) -> None:
    """Fill an empty database with `rows` emails of the time before `until`, and let Postgres take stock of them."""
    email = await outspool.outbox.accept(
        EmailRequest(to=["ada@example.com"], subject="x", body="x"), when=When(delay="P300D")
    )
    created = _CREATED.format(end=until.isoformat(), days=SPAN_DAYS, rows=rows)
    numbers = _NUMBERS.format(created=created, rows=rows)
    copies = [_copy(table, numbers, end=until.isoformat(), template=email.id) for table in (emails, recipients, events)]
    of_tags = f"INSERT INTO tags (tag, email_id) SELECT 'tag' || n / 10 % {TAGS}, id FROM {numbers} WHERE n % 10 = 0"  # noqa: S608
    url = outspool.database.url
    # Both cores have their share, and nobody looks for the email of each recipient: it comes.
    await asyncio.gather(*(execute(url, "SET session_replication_role = replica", copy) for copy in (*copies, of_tags)))
    await execute(url, f"DELETE FROM emails WHERE id = '{email.id}'", "VACUUM ANALYZE")  # noqa: S608


async def execute(url: str, *statements: str) -> None:
    """Run these one after another, on a connection of their own."""
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _copy(table: sa.Table, numbers: str, *, end: str, template: UUID) -> str:
    own = _OWN[table]
    names = [column.name for column in table.c if own.get(column.name) != ""]
    values = [own[name].replace("{end}", end) if name in own else f't."{name}"' for name in names]
    columns = ", ".join(f'"{name}"' for name in names)
    key = "id" if table is emails else "email_id"
    return (
        f"INSERT INTO {table.name} ({columns}) SELECT {', '.join(values)} "  # noqa: S608 - names of ours
        f"FROM {table.name} AS t, {numbers} WHERE t.{key} = '{template}'"
    )
