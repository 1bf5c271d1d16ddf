"""Waits for an email to change, for those who follow it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from uuid import UUID

from outspool.domain.principal import Scope
from outspool.errors import StoreUnavailable
from outspool.ports.emails import Changes, EmailStore

logger = logging.getLogger(__name__)

_SHORTEST_SECONDS = 0.25
"""How often one email is looked at while many others change."""
_POLL_SECONDS = 1.0
"""How long news may take that no notice told of: other processes tell of what may be due, not of each outcome."""


async def next_version(store: EmailStore, changes: Changes, email_id: UUID, scope: Scope, *, after: int) -> int:
    """Return the email's version as soon as it is another than `after`; a database that is away is waited for."""
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
            await asyncio.sleep(_SHORTEST_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _POLL_SECONDS)
