"""Composes messages off the event loop, and streams their attachments into them."""

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
"""Characters. Composing more than this blocks the event loop for too long, so it is done in a thread."""
_HTML_EFFORT = 20
"""How much longer a character of HTML takes, of which a text is made, than one of plain text."""


async def compose_in_thread(email: Email) -> Message:
    """Return `compose(email)`; large texts are composed in a thread. Raises as `compose` does."""
    return await asyncio.to_thread(compose, email) if _takes_long(email.content) else compose(email)


async def build_alternatives_in_thread(content: Content) -> tuple[str, str]:
    """Return `build_alternatives(content)`; those of large texts are built in a thread. Raises as it does."""
    return await asyncio.to_thread(build_alternatives, content) if _takes_long(content) else build_alternatives(content)


def _takes_long(content: Content) -> bool:
    return len(content.body or "") + _HTML_EFFORT * len(content.html or "") > _LARGE_TEXT


@asynccontextmanager
async def open_message(email: Email, blobs: BlobStore) -> AsyncIterator[bytes | Stream]:
    """Yield the message of `email`: its bytes, or a `Stream` when it has attachments.

    All attachments are opened before anything is sent, so that an outage of the blob store shows here and not halfway
    through a transaction. Raises `AttachmentLost` and `BlobsUnavailable` as `BlobStore.open` does, and `Refusal` for
    what no message can say.
    """
    message = await compose_in_thread(email)
    if not email.content.attachments:
        yield message.octets()
        return
    async with stream_message(message, blobs) as chunks:
        yield Stream(chunks, message.size)


@asynccontextmanager
async def stream_message(message: Message, blobs: BlobStore) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open every attachment and yield the message in chunks of whole lines, to be read once within the block.

    Remote attachments are fetched before the first chunk. Raises `AttachmentLost` and `BlobsUnavailable`, also while
    the chunks are read: a message that broke off must not be ended as if it were whole.
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
