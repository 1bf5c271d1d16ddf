"""SQLite and Postgres, through SQLAlchemy Core."""
