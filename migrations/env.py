"""Runs the migrations on the connection that `outspool.adapters.sql.schema` hands over.

On SQLite all run in the one transaction that is open. On Postgres each has its own, and may leave it
(`autocommit_block`) to build an index concurrently or to fill rows in batches.
"""

from __future__ import annotations

from alembic import context

from outspool.adapters.sql.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,
    transactional_ddl=True,  # SQLite's too
    transaction_per_migration=connection.dialect.name == "postgresql",
)
with context.begin_transaction():
    context.run_migrations()
