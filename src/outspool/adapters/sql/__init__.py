"""Storage in SQLite and Postgres, through SQLAlchemy Core."""
