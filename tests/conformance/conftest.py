"""Every test here runs on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.outbox_samples import Outlet, outlet


@pytest.fixture
async def box(database_url: str) -> AsyncIterator[Outlet]:
    """Return one process's view of an empty database."""
    async with outlet(database_url) as opened:
        yield opened


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Outlet]:
    """Return another process's view of the same database."""
    async with outlet(database_url) as opened:
        yield opened
