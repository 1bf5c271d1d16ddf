"""A process that makes what is due at one time after the other, and can be killed anywhere in between.

Fork it from ``Zygote("support.series_maker")`` in the role ``maker``: it is given the `variables` of its settings and
the `times` (ISO 8601) to live through, and says each time when it has made what was due then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import alembic.command  # noqa: F401 - outspool imports it at the first migration
import apscheduler.triggers.cron  # noqa: F401 - this at the first recurrence
import asyncpg  # noqa: F401 - and this at the first connection

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from support.zygote import Role


def maker(given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Make what is due at each of the given times."""
    asyncio.run(_make(given, say))


async def _make(given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    outspool = Outspool(Settings.load(given["variables"]))
    async with outspool.run(worker=False):
        for time in given["times"]:
            await outspool.occurrences.make_due(now=datetime.fromisoformat(time))
            say(time)


ROLES: Mapping[str, Role] = {"maker": maker}
