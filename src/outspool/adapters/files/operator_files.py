"""Files named on the command line: any that the operator can read, wherever links lead."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from outspool.adapters.blobs.integrity import run_in_thread
from outspool.adapters.files.rooted_files import RootedFiles
from outspool.ports.files import SourceFile


class OperatorFiles:
    """The `Files` port for a person at the command line; excludes hidden files."""

    def __init__(self, *, own: Sequence[Path] = ()) -> None:
        """`own` are outspool's own files, which nobody means to send."""
        self._own = tuple(own)

    @asynccontextmanager
    async def open(self, path: str) -> AsyncIterator[SourceFile]:
        """See `Files.open`."""
        place = await run_in_thread(_place, path)
        files = RootedFiles([place.parent], own=self._own, allows_hard_links=True)
        async with files.open(str(place)) as source:
            yield source


def _place(path: str) -> Path:
    return Path(os.path.realpath(os.path.expanduser(path)))  # noqa: PTH111 - Path's raises for a user without a home
