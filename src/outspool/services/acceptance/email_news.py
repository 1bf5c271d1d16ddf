"""Waits for changes of an email, for subscribers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from uuid import UUID

from outspool.domain.principal import Scope
from outspool.errors import StoreUnavailable
from outspool.ports.emails import Changes, EmailStore

logger = logging.getLogger(__name__)

_MIN_INTERVAL_SECONDS = 0.25
"""Shortest interval between two reads of one email."""
_POLL_SECONDS = 1.0
"""Longest interval: other processes notify of due emails, but not of every outcome."""


async def next_version(store: EmailStore, changes: Changes, email_id: UUID, scope: Scope, *, after: int) -> int:
    """Wait until the email's version differs from `after`, and return it; database outages are waited out."""
    changed = asyncio.Event()
    async with changes.watch(changed.set):
        while True:
            changed.clear()
            try:
                version = await store.version(email_id, scope)
            except StoreUnavailable as error:
                logger.debug("waiting for the database: %s", error)
                version = after
            if version is not None and version != after:
                return version
            await asyncio.sleep(_MIN_INTERVAL_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _POLL_SECONDS)
