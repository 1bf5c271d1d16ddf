"""Fixtures: a whole outspool in this process, with a real SMTP server and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from support.smtp_sink import SmtpSink

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.ports.clock import Clock
from outspool.services.delivery.timings import Timings

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SmtpSink]:
    """Return an SMTP server in a process of its own."""
    spool = tmp_path / "smtp"
    spool.mkdir()
    with SmtpSink(spool) as server:
        yield server


@pytest.fixture
def outspool(sink: SmtpSink, database_url: str, tmp_path: Path) -> OpenOutspool:
    """Return what runs an outspool that delivers to `sink`; named settings go by their variables."""

    @asynccontextmanager
    async def run(
        *,
        worker: bool = True,
        clock: Clock | None = None,
        machine_clock: Clock | None = None,
        timings: Timings | None = None,
        **variables: object,
    ) -> AsyncIterator[Outspool]:
        settings = Settings.load(
            {
                "DATABASE_URL": database_url,
                "OUTSPOOL_DATA_DIR": tmp_path,
                "SMTP_HOST": sink.host,
                "SMTP_PORT": sink.port,
                "SMTP_SECURITY": "none",
                "EMAIL_FROM": "me@example.com",
                "EMAIL_RATE_LIMIT_PER_HOUR": "1000000",
                **variables,
            }
        )
        app = Outspool(settings, clock=clock, machine_clock=machine_clock, timings=timings)
        async with app.run(worker=worker):
            yield app

    return run
