"""Makes an email ready for its transport: in one piece, or, with attachments, as a stream that is read as it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from outspool.domain.email import Email
from outspool.message.compose import compose_in_thread
from outspool.ports.files import BlobStore
from outspool.ports.transport import Stream


@asynccontextmanager
async def outgoing(email: Email, blobs: BlobStore) -> AsyncIterator[bytes | Stream]:
    """Yield the message of `email`, with every attachment at hand: an outage of their place shows here, not midway.

    Raises `AttachmentLost` and `BlobsUnavailable` as `BlobStore.open` does, and `Refusal` for what no message can say.
    """
    message = await compose_in_thread(email)
    if not email.content.attachments:
        yield message.octets()
        return
    async with message.opened(blobs) as chunks:
        yield Stream(chunks, message.size)
