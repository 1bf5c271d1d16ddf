"""Helpers to store and read blobs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

from outspool.ports.files import BlobStore


def digest_of(content: bytes) -> str:
    """Return the digest under which `content` is stored."""
    return hashlib.sha256(content).hexdigest()


async def chunked(content: bytes, *, size: int = 2**18) -> AsyncIterator[bytes]:
    """Yield `content` in chunks of `size` bytes."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def keep(blobs: BlobStore, content: bytes) -> str:
    """Store `content` and return its digest."""
    digest = digest_of(content)
    await blobs.put(digest, len(content), chunked(content))
    return digest


async def read(blobs: BlobStore, content: bytes, *, into: list[bytes] | None = None) -> bytes:
    """Return what is stored under the digest of `content`; `into` has what came before a failure."""
    into = [] if into is None else into
    async with blobs.open(digest_of(content), len(content)) as chunks:
        async for chunk in chunks:
            into.append(chunk)
    return b"".join(into)
