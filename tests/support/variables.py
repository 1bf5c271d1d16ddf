"""The environment of an outspool under test."""

from __future__ import annotations

import os
from pathlib import Path

from support.smtp_sink import SmtpSink


def variables(folder: Path, sink: SmtpSink | None = None, database_url: str = "", **more: object) -> dict[str, str]:
    """Return settings by their variables: data in `folder`, mail to `sink`, and no limit that a test would reach.

    Without `sink` there is an account at which nobody answers, without `database_url` a database in `folder`. `more`
    come last; None leaves a variable out.
    """
    settings: dict[str, object] = {
        "OUTSPOOL_DATA_DIR": folder,
        "DATABASE_URL": database_url or None,
        "SMTP_HOST": sink.host if sink else "127.0.0.1",
        "SMTP_PORT": sink.port if sink else None,
        "SMTP_SECURITY": "none",
        "EMAIL_FROM": "me@example.com",
        "EMAIL_RATE_LIMIT_PER_HOUR": 1_000_000,
        **more,
    }
    return {name: str(value) for name, value in settings.items() if value is not None}


def environment(folder: Path, sink: SmtpSink | None = None, database_url: str = "", **more: object) -> dict[str, str]:
    """Return `variables` for a process of its own, which inherits nothing else."""
    return {"PATH": os.environ["PATH"], **variables(folder, sink, database_url, **more)}
