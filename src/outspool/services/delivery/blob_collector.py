"""Deletes stored files that no email uses and whose retention has ended.

Such a file belonged to an email that was refused after the upload or updated later, or came from `outspool attach` and
was never used.
"""

from __future__ import annotations

import asyncio
import logging

from outspool.errors import OutspoolError
from outspool.ports.clock import Clock
from outspool.ports.files import BlobLedger, BlobStore

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
"""Interval between two sweeps."""

_SWEEP_TIMEOUT_SECONDS = 600.0
"""Longest duration of a sweep: far below the hour after which another process may delete what this one condemned."""

_BATCH = 100


class BlobCollector:
    """Deletes unused blobs, as listed by the ledger."""

    def __init__(self, blobs: BlobStore, ledger: BlobLedger, *, clock: Clock) -> None:
        """Use the store and the ledger that uploads use."""
        self._blobs = blobs
        self._ledger = ledger
        self._clock = clock

    async def sweep(self) -> None:
        """Delete every unused blob. An error is logged, and the next sweep tries again."""
        try:
            async with asyncio.timeout(_SWEEP_TIMEOUT_SECONDS):
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
