"""Verifies blobs by size and digest, and makes the errors that both blob stores raise."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import TypeVar

from outspool.domain.setting import Setting
from outspool.errors import AttachmentLost, AttachmentRefused, BlobsUnavailable, OutspoolError

CHUNK = 256 * 1024
"""Bytes of each open file in memory at a time."""

T = TypeVar("T")

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_digest(digest: str) -> str:
    """Return `digest` if it is a SHA-256 in lower-case hex, else raise `ValueError`: it becomes part of a path."""
    if not _DIGEST.fullmatch(digest):
        raise ValueError("A digest has 64 lower-case hexadecimal digits.")
    return digest


async def verify_chunks(
    chunks: AsyncIterable[bytes], digest: str, size: int, mismatch_error: Callable[[], OutspoolError]
) -> AsyncIterator[bytes]:
    """Yield `chunks`; raise a `mismatch_error` in place of the last if size or digest are wrong."""
    hasher, remaining_size, pending = hashlib.sha256(), size, b""
    async for chunk in chunks:
        remaining_size -= len(chunk)
        if remaining_size < 0:
            raise mismatch_error()
        hasher.update(chunk)
        if pending:
            yield pending
        pending = chunk
    if remaining_size or hasher.hexdigest() != digest:
        raise mismatch_error()
    if pending:
        yield pending


async def run_in_thread(work: Callable[..., T], *arguments: object) -> T:
    """Run `work` in a thread. If canceled, wait for it first: it may have a file open."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


def changed_error() -> AttachmentRefused:
    """Return the error for a file that changed between two reads."""
    return AttachmentRefused("An attachment changed while it was being read.", "Send it when nobody writes to it.")


def missing_error() -> AttachmentLost:
    """Return the error for a stored file that is missing."""
    return AttachmentLost("An attachment is no longer where it was stored.", "Send the email again with the file.")


def elsewhere_error() -> BlobsUnavailable:
    """Return the error for a file that may be on another machine, which can send the email instead."""
    return BlobsUnavailable(
        "An attachment is not on this machine: the one that accepted the email keeps its files to itself.",
        f"Set {Setting.BUCKET} on every machine, so that all keep attachments in one place.",
    )


def damaged_error() -> AttachmentLost:
    """Return the error for a stored file whose content has changed."""
    return AttachmentLost(
        "An attachment is no longer what was stored: its digest differs.", "Send the email again with the file."
    )
