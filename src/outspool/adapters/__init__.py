"""The outside world: SQL, SMTP, APScheduler. Each implements a port."""
