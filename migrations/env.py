"""Runs the migrations on the connection that `outspool.adapters.sql.schema` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from outspool.adapters.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,
    transactional_ddl=True,  # SQLite's too, inside the one transaction we are given
)
context.run_migrations()
