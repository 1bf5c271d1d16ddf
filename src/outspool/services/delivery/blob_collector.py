"""Removes files that no email has and that nobody has asked to keep for longer.

Such a file was stored for an email that was refused at the last moment or changed later, or by `outspool attach` for
emails that never came.
"""

from __future__ import annotations

import asyncio
import logging

from outspool.errors import OutspoolError
from outspool.ports.clock import Clock
from outspool.ports.files import BlobLedger, BlobStore

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
"""How often to look for leftovers."""

_MOST_SECONDS = 600.0
"""Far less than the hour after which another process may remove what this one condemned."""

_BATCH = 100


class BlobCollector:
    """Looks for files nobody needs, in the ledger, and removes them."""

    def __init__(self, blobs: BlobStore, ledger: BlobLedger, *, clock: Clock) -> None:
        """Share both with whoever stores files."""
        self._blobs = blobs
        self._ledger = ledger
        self._clock = clock

    async def sweep(self) -> None:
        """Remove what is left over. What goes wrong is tried again at the next sweep."""
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                while await self._remove_some() == _BATCH:
                    pass
        except (OutspoolError, TimeoutError) as error:
            logger.info("Files that no email needs could not be removed: %s", error)

    async def _remove_some(self) -> int:
        condemned = await self._ledger.condemn(at=self._clock.now(), limit=_BATCH)
        for digest in condemned:
            await self._blobs.delete(digest)
        if condemned:
            await self._ledger.forget(condemned)
            logger.info("removed %d files that no email needs", len(condemned))
        return len(condemned)
