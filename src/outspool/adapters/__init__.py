"""The outside world: SQL, SMTP, files and S3, APScheduler. What a service needs of it, a port says."""
