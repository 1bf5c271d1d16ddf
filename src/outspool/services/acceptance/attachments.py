"""Reads the files a caller gives with an email, and stores them before the email is.

Each file is one of four things: `text` that the caller writes, `content` in base64, the `path` of a file that may be
sent, or the `blob` of one that is stored already. All are looked at before any is stored, so that a refusal leaves
nothing behind; none is ever in memory whole, but for what the caller wrote into the request itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from outspool.domain.attachment import MAX_ATTACHMENTS, Attachment
from outspool.domain.email import Email
from outspool.errors import AttachmentRefused, TooLarge, brief
from outspool.ports.clock import Clock
from outspool.ports.files import BlobHandles, BlobLedger, BlobStore, Files, SourceFile
from outspool.ports.transport import Stream
from outspool.services.acceptance.attachment_requests import (
    AttachmentRequest,
    InlineFile,
    check_content_ids,
    check_kind,
    described,
)
from outspool.services.delivery.outgoing import outgoing

HANDLE_KEPT = timedelta(days=30)
"""How long a file that was stored for emails to come waits for one."""

_ACCEPTING = timedelta(days=1)
"""Far longer than it takes to accept an email once its files are stored."""

_HANDLE = re.compile(r"blob:([0-9a-f]{64})")
_NAMED = 3
_MEGABYTE = 1024 * 1024
_BASE64_GROWTH = 78 / 57
"""57 bytes become a line of 76 characters and its line end (RFC 2045 §6.8)."""


class Gathered:
    """Files that were read and found good, held open until they are stored."""

    def __init__(
        self, attachments: Sequence[Attachment], unstored: Mapping[str, SourceFile], owner: Attachments
    ) -> None:
        """`unstored` has, by digest, what is not known to be stored yet."""
        self.attachments = tuple(attachments)
        self._unstored = unstored
        self._owner = owner

    async def store(self) -> None:
        """Store every file; once this returns they survive any crash.

        Raises `AttachmentRefused` when a file has changed since it was read, `StoreUnavailable` when the place for
        attachments, or the database, cannot be used.
        """
        if self.attachments:
            await self._owner.store(self.attachments, self._unstored)


class Attachments:
    """The files of emails: read, checked and stored."""

    def __init__(
        self,
        blobs: BlobStore,
        ledger: BlobLedger,
        handles: BlobHandles,
        files: Files,
        *,
        max_message_bytes: int,
        clock: Clock,
    ) -> None:
        """`max_message_bytes` counts the encoded message, of which all files together are only a part."""
        self._blobs = blobs
        self._ledger = ledger
        self._handles = handles
        self._files = files
        self._max_message_bytes = max_message_bytes
        self._clock = clock

    def outgoing(self, email: Email) -> AbstractAsyncContextManager[bytes | Stream]:
        """Return the message of `email` as it goes on the wire; see `outspool.services.delivery.outgoing`."""
        return outgoing(email, self._blobs)

    @asynccontextmanager
    async def gathered(self, drafts: Sequence[AttachmentRequest]) -> AsyncIterator[Gathered]:
        """Read and check all files; nothing is stored until `Gathered.store`.

        Raises `AttachmentRefused` for the first that cannot be sent, `TooLarge` when they are too much together.
        """
        if len(drafts) > MAX_ATTACHMENTS:
            raise AttachmentRefused(
                f"{len(drafts):,} attachments are given; {MAX_ATTACHMENTS} is the most.", "Put them into one archive."
            )
        async with AsyncExitStack() as stack:
            files = [await self._read(draft, f"attachments[{n}]", stack) for n, draft in enumerate(drafts)]
            self._check_sizes([attachment.size for attachment, _ in files])
            attachments = [await _with_digest(attachment, source) for attachment, source in files]
            check_content_ids(attachments)
            unstored = {a.digest: source for a, (_, source) in zip(attachments, files, strict=True) if source}
            yield Gathered(attachments, unstored, self)

    def opening(self, opened: AsyncExitStack) -> Callable[[Sequence[AttachmentRequest]], Awaitable[Gathered]]:
        """Return what reads and checks files as `gathered` does, and leaves them open until `opened` closes."""
        return lambda drafts: opened.enter_async_context(self.gathered(drafts))

    async def store_seen(self, drafts: Sequence[AttachmentRequest], seen: Sequence[Attachment]) -> None:
        """Store files that were `gathered`, and let go, before: who has many emails need not hold all their files.

        Raises as `gathered` and `Gathered.store` do, and `AttachmentRefused` when they are not what was `seen`.
        """
        if not seen:
            return
        async with self.gathered(drafts) as gathered:
            if gathered.attachments != tuple(seen):
                names = ", ".join(brief(attachment.filename) for attachment in seen[:_NAMED])
                raise AttachmentRefused(f"An attachment was changed meanwhile ({names}).", "Try again when it is done.")
            await gathered.store()

    async def keep(self, path: str) -> str:
        """Store a file for emails to come, and return its handle; it is kept for `HANDLE_KEPT` without one.

        Raises as `gathered` and `Gathered.store` do.
        """
        async with self.gathered([AttachmentRequest(path=path)]) as gathered:
            await gathered.store()
            [attachment] = gathered.attachments
            await self._ledger.note({attachment.digest: attachment.size}, kept_until=self._clock.now() + HANDLE_KEPT)
            return f"blob:{await self._handles.issue(attachment.digest)}"

    async def store(self, attachments: Sequence[Attachment], unstored: Mapping[str, SourceFile]) -> None:
        """See `Gathered.store`."""
        sizes = {attachment.digest: attachment.size for attachment in attachments}
        # First: from here on nobody removes a file of these digests.
        await self._ledger.note(sizes, kept_until=self._clock.now() + _ACCEPTING)
        for digest, size in sizes.items():
            if digest in unstored:
                await self._blobs.put(digest, size, unstored[digest].chunks())
            elif await self._blobs.size(digest) != size:
                raise AttachmentRefused(
                    "A file given as `blob` is no longer stored.", "Store it again with `outspool attach`."
                )

    async def _read(
        self, draft: AttachmentRequest, field: str, stack: AsyncExitStack
    ) -> tuple[Attachment, SourceFile | None]:
        """Return what the file is, and the file, open; or its digest and None when it is stored already."""
        check_kind(draft, field)
        if draft.path is not None:
            source = await stack.enter_async_context(self._files.open(draft.path))
            return described(draft, field, name=source.name, size=source.size), source
        if draft.blob is not None:
            digest, size = await self._stored(draft.blob)
            return replace(described(draft, field, size=size), digest=digest), None
        if draft.content is not None:
            self._check_sizes([len(draft.content) // 4 * 3])
        written = await asyncio.to_thread(InlineFile.of, draft, field)
        return described(draft, field, size=written.size), written

    async def _stored(self, written: str) -> tuple[str, int]:
        match = _HANDLE.fullmatch(written)
        if match is None:
            raise AttachmentRefused(
                f"blob {brief(written)} is no handle of a stored file.", "Give what `outspool attach` printed."
            )
        digest = await self._handles.find(match[1])
        size = None if digest is None else await self._blobs.size(digest)
        if digest is None or size is None:
            raise _no_blob(written)
        return digest, size

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        encoded = int(sum(sizes) * _BASE64_GROWTH)
        if encoded > self._max_message_bytes:
            raise TooLarge(
                f"The attachments would be {encoded / _MEGABYTE:,.1f} MB as encoded for mail; "
                f"{self._max_message_bytes / _MEGABYTE:,.1f} MB is the most.",
                "Send smaller files, fewer of them, or a link.",
            )


async def _with_digest(attachment: Attachment, source: SourceFile | None) -> Attachment:
    """Return the attachment with its digest, for which a file that is not stored yet is read once."""
    if source is None:
        return attachment
    found = sha256()
    async for chunk in source.chunks():
        found.update(chunk)
    return replace(attachment, digest=found.hexdigest())


def _no_blob(written: str) -> AttachmentRefused:
    return AttachmentRefused(
        f"There is no stored file {brief(written, 80)}.", "Store it with `outspool attach`, and use what that prints."
    )
