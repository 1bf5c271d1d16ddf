"""The outside world: SQL, SMTP, files and S3, APScheduler. Each implements a port."""
