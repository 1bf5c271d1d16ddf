"""Implementations of the ports: SQL, SMTP, files, S3 and APScheduler."""
