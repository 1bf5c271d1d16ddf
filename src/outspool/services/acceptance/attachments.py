"""Reads the attachments of an email, and stores them before the email is.

Each is one of four things: `text` that the caller wrote, `content` in base64, the `path` of a file that may be sent, or
the `blob` of one that is stored already. All are read and checked before any is stored, so that a refusal leaves
nothing behind. None is ever in memory whole, but for what stands in the request itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from outspool.domain.attachment import MAX_ATTACHMENTS, Attachment
from outspool.domain.email import Email
from outspool.domain.principal import Scope
from outspool.errors import AttachmentRefused, TooLarge, brief
from outspool.ports.clock import Clock
from outspool.ports.files import BlobHandles, BlobLedger, BlobStore, Files, SourceFile
from outspool.ports.transport import Stream
from outspool.services.acceptance.attachment_requests import (
    AttachmentRequest,
    InlineFile,
    check_content_ids,
    check_kind,
    describe_attachment,
)
from outspool.services.message_stream import open_message

HANDLE_KEPT = timedelta(days=30)
"""How long a file that was stored for emails to come waits for one."""

_ACCEPTING = timedelta(days=1)
"""Far longer than it takes to accept an email once its files are stored."""

_HANDLE = re.compile(r"blob:([0-9a-f]{64})")
_MEGABYTE = 1024 * 1024
_BASE64_GROWTH = 78 / 57
"""57 bytes become a line of 76 characters and its line end (RFC 2045 §6.8)."""


class StagedAttachments:
    """The attachments of one call: read and checked first, stored when the rest of the call has been found good.

    No file stays open in between, however many emails the call has. A file that changed meanwhile is refused when it
    is stored: its digest no longer fits.
    """

    def __init__(self, attachments: Attachments, scope: Scope) -> None:
        """Read nothing yet. `scope` is which stored files the caller may attach by their handles."""
        self._attachments = attachments
        self._scope = scope
        self._read: dict[tuple[AttachmentRequest, ...], tuple[Attachment, ...]] = {}

    async def read(self, requests: Sequence[AttachmentRequest]) -> tuple[Attachment, ...]:
        """Return the attachments of one email. Emails that attach the same files share one reading.

        Raises as `Attachments.read` does.
        """
        key = tuple(requests)
        if key not in self._read:
            self._read[key] = await self._attachments.read(key, self._scope)
        return self._read[key]

    async def store(self) -> None:
        """Store everything that was read; once this returns it survives any crash.

        Raises `AttachmentRefused` when a file has changed since it was read, `StoreUnavailable` when the place for
        attachments, or the database, cannot be used.
        """
        for requests, attachments in self._read.items():
            await self._attachments.store(requests, attachments, self._scope)


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

    def open_message(self, email: Email) -> AbstractAsyncContextManager[bytes | Stream]:
        """Open the message of `email` as it goes on the wire; see `outspool.services.message_stream.open_message`."""
        return open_message(email, self._blobs)

    def stage(self, scope: Scope) -> StagedAttachments:
        """Begin the attachments of one call of somebody with this scope."""
        return StagedAttachments(self, scope)

    async def read(self, requests: Sequence[AttachmentRequest], scope: Scope) -> tuple[Attachment, ...]:
        """Read and check the files of one email; nothing is stored.

        Raises `AttachmentRefused` for the first that cannot be sent, `TooLarge` when they are too much together.
        """
        if len(requests) > MAX_ATTACHMENTS:
            raise AttachmentRefused(
                f"{len(requests):,} attachments are given; {MAX_ATTACHMENTS} is the most.", "Put them into one archive."
            )
        async with AsyncExitStack() as stack:
            files = [await self._open(request, f"attachments[{n}]", scope, stack) for n, request in enumerate(requests)]
            self._check_sizes([attachment.size for attachment, _ in files])
            attachments = tuple([await _with_digest(attachment, source) for attachment, source in files])
        check_content_ids(attachments)
        return attachments

    async def store(
        self, requests: Sequence[AttachmentRequest], attachments: Sequence[Attachment], scope: Scope
    ) -> None:
        """Store the files of one email that `read` returned. Raises as `StagedAttachments.store` does."""
        if not attachments:
            return
        sizes = {attachment.digest: attachment.size for attachment in attachments}
        # First: from here on nobody removes a file of these digests.
        await self._ledger.note(sizes, kept_until=self._clock.now() + _ACCEPTING)
        for place, (request, attachment) in enumerate(zip(requests, attachments, strict=True)):
            if sizes.pop(attachment.digest, None) is None:
                continue  # stored a moment ago, under another name
            async with AsyncExitStack() as stack:
                _, source = await self._open(request, f"attachments[{place}]", scope, stack)
                if source is not None:
                    await self._blobs.put(attachment.digest, attachment.size, source.chunks())
                elif await self._blobs.size(attachment.digest) != attachment.size:
                    raise AttachmentRefused(
                        "A file given as `blob` is no longer stored.", "Store it again with `outspool attach`."
                    )

    async def keep(self, path: str, *, owner: str) -> str:
        """Store a file for emails of `owner` to come, and return its handle; it is kept for `HANDLE_KEPT` without one.

        Raises as `read` and `store` do.
        """
        requests = [AttachmentRequest(path=path)]
        scope = Scope(owner=owner, identities=None)
        [attachment] = await self.read(requests, scope)
        await self.store(requests, [attachment], scope)
        await self._ledger.note({attachment.digest: attachment.size}, kept_until=self._clock.now() + HANDLE_KEPT)
        return f"blob:{await self._handles.issue(attachment.digest, owner)}"

    async def _open(
        self, request: AttachmentRequest, field: str, scope: Scope, stack: AsyncExitStack
    ) -> tuple[Attachment, SourceFile | None]:
        """Return the attachment with its file, open in `stack`; or with its digest and None when it is stored."""
        check_kind(request, field)
        if request.path is not None:
            source = await stack.enter_async_context(self._files.open(request.path))
            return describe_attachment(request, field, name=source.name, size=source.size), source
        if request.blob is not None:
            digest, size = await self._find_stored(request.blob, scope)
            return replace(describe_attachment(request, field, size=size), digest=digest), None
        if request.content is not None:
            self._check_sizes([len(request.content) // 4 * 3])
        inline = await asyncio.to_thread(InlineFile.of, request, field)
        return describe_attachment(request, field, size=inline.size), inline

    async def _find_stored(self, handle: str, scope: Scope) -> tuple[str, int]:
        match = _HANDLE.fullmatch(handle)
        if match is None:
            raise AttachmentRefused(
                f"blob {brief(handle)} is no handle of a stored file.", "Give what `outspool attach` printed."
            )
        digest = await self._handles.find(match[1], scope)
        size = None if digest is None else await self._blobs.size(digest)
        if digest is None or size is None:
            raise _no_blob(handle)
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


def _no_blob(handle: str) -> AttachmentRefused:
    return AttachmentRefused(
        f"There is no stored file {brief(handle, 80)}.", "Store it with `outspool attach`, and use what that prints."
    )
