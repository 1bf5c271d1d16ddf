"""The emails of a Postgres database once more, in tables that are partitioned by month.

The copies are in a schema of their own: `search_path` decides which ones a program sees, and its statements stay as
they are. What the design of the copies is, and why:

- The partitions are ranges of the email's id, which begins with the time (UUIDv7). Every statement names emails by id
  and so finds its partition by itself, and the id alone remains the primary key. Ranges of `created_at` would need
  it in every key, and `get_status` would have to ask every partition.
- Recipients, tags, attachments and events are partitioned by the same ids, so that a month goes with all that is its.
- Foreign keys lead from each month to the same month. One between the whole tables would have Postgres look through
  all of them before it lets go of a month.
- An idempotency key, and a series' email for a time, are unique within their month alone: Postgres keeps nothing unique
  over all partitions that does not hold the partition's own column. A database that is to stay like this needs a table
  of keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from bench.history import execute
from outspool.adapters.sql.tables import attachments, emails, events, recipients, tags
from outspool.adapters.uuid7 import least_id

SCHEMA = "monthly"
_LONGEST_MONTH = timedelta(days=31)

PARTITIONED: Mapping[sa.Table, str] = {emails: "id"} | dict.fromkeys(
    (recipients, tags, attachments, events), "email_id"
)
"""Each table with the column that decides in which month a row belongs."""


def months(first: datetime, last: datetime) -> list[datetime]:
    """Return when each month begins, from that of `first` to the one after `last`."""
    begins = [first.replace(day=1, hour=0, minute=0, second=0, microsecond=0)]
    while begins[-1] <= last:
        begins.append((begins[-1] + _LONGEST_MONTH).replace(day=1))
    return begins


def partition(table: sa.Table, month: datetime) -> str:
    """Return the name of one month's part of a table, schema included."""
    return f"{SCHEMA}.{table.name}_{month:%Y_%m}"


async def write_months(url: str, begins: Sequence[datetime]) -> str:
    """Copy all emails into partitions that begin then, the last of them empty; return the URL to see the copies by."""
    monthly_url = f"{url}?search_path={SCHEMA},public"
    await execute(url, f"CREATE SCHEMA {SCHEMA}")
    await asyncio.gather(*(execute(monthly_url, *_copy(table, begins)) for table in PARTITIONED))
    await execute(monthly_url, *_bonds(begins), "VACUUM ANALYZE")
    return monthly_url


def _copy(table: sa.Table, begins: Sequence[datetime]) -> Iterator[str]:
    """Yield the statements for a table, its rows, and what keys and indexes the ordinary one has."""
    key, name = PARTITIONED[table], f"{SCHEMA}.{table.name}"
    yield "SET maintenance_work_mem = '128MB'"
    yield f"CREATE TABLE {name} (LIKE public.{table.name} INCLUDING DEFAULTS) PARTITION BY RANGE ({key})"
    for begin, end in zip(begins, [*begins[1:], begins[-1] + _LONGEST_MONTH], strict=True):
        bounds = f"FROM ('{least_id(begin)}') TO ('{least_id(end)}')"
        yield f"CREATE TABLE {partition(table, begin)} PARTITION OF {name} FOR VALUES {bounds}"
    # Indexes and keys come after the rows: sorted at once they take a fraction of the time.
    yield f"INSERT INTO {name} SELECT * FROM public.{table.name}"  # noqa: S608 - names of ours
    columns = [column.name for column in table.primary_key]
    primary = columns if key in columns else [key, *columns]
    yield f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(primary)})"
    for index in table.indexes:
        if not index.unique and [getattr(column, "name", "") for column in index.expressions] != primary:
            yield _written(index)


def _written(index: sa.Index) -> str:
    return str(CreateIndex(index).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def _bonds(begins: Sequence[datetime]) -> Iterator[str]:
    """Yield the statements for what ties rows to each other, and events to their numbers."""
    for month in begins:
        of_emails = partition(emails, month)
        yield f"CREATE UNIQUE INDEX ON {of_emails} (lane, idempotency_key)"
        for index in emails.indexes:
            if index.unique:
                yield _written(index).replace(f"INDEX {index.name} ON {emails.name} ", f"INDEX ON {of_emails} ")
        for table in (recipients, tags, attachments, events):
            foreign = f"FOREIGN KEY (email_id) REFERENCES {of_emails} (id) ON DELETE CASCADE"
            yield f"ALTER TABLE {partition(table, month)} ADD {foreign} NOT VALID"
    numbers = "pg_get_serial_sequence('public.events', 'id')"
    yield f"ALTER TABLE {SCHEMA}.events ALTER id SET DEFAULT nextval({numbers})"
