"""Attachments in a local folder: one file per content, named by its SHA-256.

::

    FOLDER/incoming/tmp…         being written
    FOLDER/ab/cd/abcd…           complete, durable, never changed again

A path contains nothing that a caller wrote. A file is written to ``incoming``, flushed, and renamed to its place, so
that a file in its place is complete whenever the process dies. Only this user can read it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from outspool.adapters.blobs.integrity import (
    CHUNK,
    changed_error,
    check_digest,
    damaged_error,
    elsewhere_error,
    missing_error,
    run_in_thread,
    verify_chunks,
)
from outspool.adapters.files.private_files import create_folder
from outspool.errors import BlobsUnavailable

_ABANDONED_SECONDS = 24 * 3600
"""A temporary file this old was left by a process that died."""
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

T = TypeVar("T")


class LocalBlobs:
    """The `BlobStore` port in `folder`, which is created with the first file."""

    def __init__(self, folder: Path, *, is_shared: bool = False) -> None:
        """Touch nothing yet. `is_shared`: other machines send emails of the same database from their own folders."""
        self._folder = folder
        self._is_shared = is_shared
        self._incoming = folder / "incoming"

    def __str__(self) -> str:
        """Return the location, for messages."""
        return f"{self._folder}, on this machine alone" if self._is_shared else str(self._folder)

    async def put(self, digest: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """See `BlobStore.put`."""
        place = self._place(digest)
        if await self.size(digest) == size:
            return
        descriptor, temporary = await self._run_in_thread(self._create_temporary)
        try:
            try:
                async for chunk in verify_chunks(chunks, digest, size, changed_error):
                    await self._run_in_thread(_write, descriptor, chunk)
                await self._run_in_thread(os.fsync, descriptor)
            finally:
                os.close(descriptor)
            await self._run_in_thread(_publish, temporary, place, self._folder)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    @asynccontextmanager
    async def open(self, digest: str, size: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """See `BlobStore.open`."""
        place = self._place(digest)
        try:
            descriptor = await self._run_in_thread(os.open, place, _READ)
        except FileNotFoundError:
            raise (elsewhere_error() if self._is_shared else missing_error()) from None
        try:
            if os.fstat(descriptor).st_size != size:
                raise damaged_error()
            yield verify_chunks(self._chunks(descriptor), digest, size, damaged_error)
        finally:
            os.close(descriptor)

    async def size(self, digest: str) -> int | None:
        """See `BlobStore.size`."""
        try:
            return (await self._run_in_thread(os.lstat, self._place(digest))).st_size
        except FileNotFoundError:
            return None

    async def delete(self, digest: str) -> None:
        """See `BlobStore.delete`."""
        with contextlib.suppress(FileNotFoundError):
            await self._run_in_thread(os.unlink, self._place(digest))

    async def check(self) -> None:
        """See `BlobStore.check`."""
        await self._run_in_thread(self._write_test_file)

    async def close(self) -> None:
        """Nothing is open between calls."""

    def _place(self, digest: str) -> Path:
        name = check_digest(digest)
        return self._folder / name[:2] / name[2:4] / name

    def _create_temporary(self) -> tuple[int, Path]:
        """Create a private temporary file on the disk of its final place."""
        create_folder(self._incoming)
        self._sweep()
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        return descriptor, Path(name)

    def _sweep(self) -> None:
        """Delete temporary files of processes that died."""
        for temporary in self._incoming.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - temporary.stat().st_mtime > _ABANDONED_SECONDS:
                    temporary.unlink()

    def _write_test_file(self) -> None:
        descriptor, temporary = self._create_temporary()
        try:
            _write(descriptor, b"outspool")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            temporary.unlink()

    async def _chunks(self, descriptor: int) -> AsyncIterator[bytes]:
        while chunk := await self._run_in_thread(os.read, descriptor, CHUNK):
            yield chunk

    async def _run_in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        with _as_unavailable(self._folder):
            return await run_in_thread(work, *arguments)


@contextmanager
def _as_unavailable(folder: Path) -> Iterator[None]:
    """Raise `BlobsUnavailable` for errors of the disk, but let FileNotFoundError through."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise BlobsUnavailable(
            f"Attachments cannot be kept in {folder}: {why}.", "The operator must mend that; then try again."
        ) from None


def _write(descriptor: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(descriptor, left) :]


def _publish(temporary: Path, place: Path, top: Path) -> None:
    """Move a complete file to its place, durably."""
    create_folder(place.parent)
    temporary.replace(place)
    for folder in place.parents:
        _flush_folder(folder)
        if folder == top.parent:
            break


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders, and need not
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
