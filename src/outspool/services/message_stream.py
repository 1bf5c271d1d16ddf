"""Composes messages off the event loop, and streams their attachments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from outspool.domain.attachment import Attachment
from outspool.domain.email import Content, Email
from outspool.message.compose import Message, build_alternatives, compose
from outspool.message.transfer_encoding import base64_stream
from outspool.ports.files import BlobStore
from outspool.ports.transport import Stream

_LARGE_TEXT = 50_000
"""Characters; composing more would block the event loop too long, so a thread does it."""
_HTML_EFFORT = 20
"""Cost of converting a character of HTML to text, relative to one of plain text."""


async def compose_in_thread(email: Email) -> Message:
    """Return `compose(email)`; large texts are composed in a thread. Raises as `compose` does."""
    return await asyncio.to_thread(compose, email) if _takes_long(email.content) else compose(email)


async def build_alternatives_in_thread(content: Content) -> tuple[str, str]:
    """Return `build_alternatives(content)`, in a thread for large texts. Raises as it does."""
    return await asyncio.to_thread(build_alternatives, content) if _takes_long(content) else build_alternatives(content)


def _takes_long(content: Content) -> bool:
    return len(content.body or "") + _HTML_EFFORT * len(content.html or "") > _LARGE_TEXT


@asynccontextmanager
async def open_message(email: Email, blobs: BlobStore) -> AsyncIterator[bytes | Stream]:
    """Yield the message of `email`: bytes, or a `Stream` if it has attachments.

    All attachments are opened before anything is sent, so that an unavailable blob store is noticed here and not in
    mid-transaction. Raises `AttachmentLost` and `BlobsUnavailable` as `BlobStore.open` does, and the `Refusal` of
    content that no message can carry.
    """
    message = await compose_in_thread(email)
    if not email.content.attachments:
        yield message.octets()
        return
    async with stream_message(message, blobs) as chunks:
        yield Stream(chunks, message.size)


@asynccontextmanager
async def stream_message(message: Message, blobs: BlobStore) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open every attachment and yield the message in chunks of whole lines, to be read once.

    Remote attachments are downloaded before the first chunk. Raises `AttachmentLost` and `BlobsUnavailable`, also while
    chunks are read: a truncated message must not be ended as if it were complete.
    """
    async with AsyncExitStack() as stack:
        attachments = [piece for piece in message.pieces if isinstance(piece, Attachment)]
        files = [await stack.enter_async_context(blobs.open(a.digest, a.size)) for a in attachments]
        yield await stack.enter_async_context(aclosing(_chunks(message, iter(files))))


async def _chunks(message: Message, files: Iterator[AsyncIterator[bytes]]) -> AsyncGenerator[bytes, None]:
    for piece in message.pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            async for lines in base64_stream(next(files)):
                yield lines
