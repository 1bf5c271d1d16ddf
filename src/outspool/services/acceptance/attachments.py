"""Reads, checks and stores attachments, before their email is stored.

An attachment is `text`, `content` in base64, the `path` of an allowed file, or the `blob` handle of a stored one. All
are checked before any is stored, so that a refused call leaves nothing behind. Files are streamed in chunks; only
inline content is in memory whole.
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
from outspool.domain.calendar_method import add_method, is_calendar
from outspool.domain.email import Email
from outspool.domain.principal import Scope
from outspool.domain.refusals import RefusalCollector
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

HANDLE_RETENTION = timedelta(days=30)
"""How long a blob stored by `outspool attach` is kept without an email."""

_ACCEPTANCE_RETENTION = timedelta(days=1)
"""How long a stored blob is kept for its email to be accepted; far longer than that takes."""

_HANDLE = re.compile(r"blob:([0-9a-f]{64})")
_MEGABYTE = 1024 * 1024
_BASE64_GROWTH = 78 / 57
"""57 bytes become a line of 76 characters and its line end (RFC 2045 §6.8)."""


class StagedAttachments:
    """The attachments of one call: read and checked first, stored once the whole call is valid.

    No file stays open in between. A file that changes meanwhile is refused when it is stored, because its digest
    differs.
    """

    def __init__(self, attachments: Attachments, scope: Scope) -> None:
        """Read nothing yet. `scope` is which stored blobs the caller may attach."""
        self._attachments = attachments
        self._scope = scope
        self._read: dict[tuple[AttachmentRequest, ...], tuple[Attachment, ...]] = {}

    async def read(self, requests: Sequence[AttachmentRequest]) -> tuple[Attachment, ...]:
        """Return the attachments of one email; emails of a batch with the same files share one read.

        Raises as `Attachments.read` does.
        """
        key = tuple(requests)
        if key not in self._read:
            self._read[key] = await self._attachments.read(key, self._scope)
        return self._read[key]

    async def store(self) -> None:
        """Store everything that was read, durably.

        Raises `AttachmentRefused` if a file has changed since, `StoreUnavailable` if the blob store or the database is
        unavailable.
        """
        for requests, attachments in self._read.items():
            await self._attachments.store(requests, attachments, self._scope)


class Attachments:
    """Reads, checks and stores attachments."""

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
        """`max_message_bytes` limits the encoded message, of which the attachments are a part."""
        self._blobs = blobs
        self._ledger = ledger
        self._handles = handles
        self._files = files
        self._max_message_bytes = max_message_bytes
        self._clock = clock

    def open_message(self, email: Email) -> AbstractAsyncContextManager[bytes | Stream]:
        """Open the message of `email` as sent; see `outspool.services.message_stream.open_message`."""
        return open_message(email, self._blobs)

    def stage(self, scope: Scope) -> StagedAttachments:
        """Return an empty stage for one call of a caller with this scope."""
        return StagedAttachments(self, scope)

    async def read(self, requests: Sequence[AttachmentRequest], scope: Scope) -> tuple[Attachment, ...]:
        """Read and check the files of one email; store nothing.

        Raises `AttachmentRefused`, naming each that cannot be sent, `TooLarge` if they are too large together.
        """
        if len(requests) > MAX_ATTACHMENTS:
            raise AttachmentRefused(
                f"{len(requests):,} attachments are given; {MAX_ATTACHMENTS} is the most.", "Put them into one archive."
            )
        async with AsyncExitStack() as stack:
            faults, files = RefusalCollector(), []
            for n, request in enumerate(requests):
                with faults.collect():
                    files.append(await self._open(request, f"attachments[{n}]", scope, stack))
            faults.raise_any()
            self._check_sizes([attachment.size for attachment, _ in files])
            attachments = tuple([await _with_digest(attachment, source) for attachment, source in files])
        check_content_ids(attachments)
        return attachments

    async def store(
        self, requests: Sequence[AttachmentRequest], attachments: Sequence[Attachment], scope: Scope
    ) -> None:
        """Upload staged files that `read` returned; raises as `StagedAttachments.store` does.

        Batches read and store one email at a time, so that only one email's files are open.
        """
        if not attachments:
            return
        sizes = {attachment.digest: attachment.size for attachment in attachments}
        # Note them before the upload: from here on nobody deletes these blobs.
        await self._ledger.note(sizes, kept_until=self._clock.now() + _ACCEPTANCE_RETENTION)
        for place, (request, attachment) in enumerate(zip(requests, attachments, strict=True)):
            if sizes.pop(attachment.digest, None) is None:
                continue  # same content as an earlier attachment
            async with AsyncExitStack() as stack:
                _, source = await self._open(request, f"attachments[{place}]", scope, stack)
                if source is not None:
                    await self._blobs.put(attachment.digest, attachment.size, source.chunks())
                elif await self._blobs.size(attachment.digest) != attachment.size:
                    raise AttachmentRefused(
                        "A file given as `blob` is no longer stored.", "Store it again with `outspool attach`."
                    )

    async def keep(self, path: str, *, owner: str) -> str:
        """Store a file for future emails of `owner`, and return its handle, valid for `HANDLE_RETENTION`.

        Raises as `read` and `store` do.
        """
        requests = [AttachmentRequest(path=path)]
        scope = Scope(owner=owner, identities=None)
        [attachment] = await self.read(requests, scope)
        await self.store(requests, [attachment], scope)
        await self._ledger.note({attachment.digest: attachment.size}, kept_until=self._clock.now() + HANDLE_RETENTION)
        return f"blob:{await self._handles.issue(attachment.digest, owner)}"

    async def _open(
        self, request: AttachmentRequest, field: str, scope: Scope, stack: AsyncExitStack
    ) -> tuple[Attachment, SourceFile | None]:
        """Return the attachment and its file, opened in `stack`; None instead of the file if it is stored already."""
        check_kind(request, field)
        if request.path is not None:
            source = await stack.enter_async_context(self._files.open(request.path))
            attachment = describe_attachment(request, field, name=source.name, size=source.size)
            return await _with_method(attachment, source, field), source
        if request.blob is not None:
            digest, size = await self._find_stored(request.blob, scope)
            return replace(describe_attachment(request, field, size=size), digest=digest), None
        if request.content is not None:
            self._check_sizes([len(request.content) // 4 * 3])
        inline = await asyncio.to_thread(InlineFile.of, request, field)
        return await _with_method(describe_attachment(request, field, size=inline.size), inline, field), inline

    async def _find_stored(self, handle: str, scope: Scope) -> tuple[str, int]:
        match = _HANDLE.fullmatch(handle)
        if match is None:
            raise AttachmentRefused(
                f"blob {brief(handle)} is no handle of a stored file.", "Give what `outspool attach` printed."
            )
        digest = await self._handles.find(match[1], scope)
        size = None if digest is None else await self._blobs.size(digest)
        if digest is None or size is None:
            raise _unknown_handle(handle)
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
    """Return the attachment with its digest; reads the file once unless it is stored already."""
    if source is None:
        return attachment
    digest = sha256()
    async for chunk in source.chunks():
        digest.update(chunk)
    return replace(attachment, digest=digest.hexdigest())


async def _with_method(attachment: Attachment, source: SourceFile, field: str) -> Attachment:
    """Return the attachment of a calendar file with the method that its first chunk says; others unchanged."""
    beginning = b""
    if is_calendar(attachment.content_type):
        async for chunk in source.chunks():
            beginning = chunk
            break
    return replace(attachment, content_type=add_method(attachment.content_type, beginning, field))


def _unknown_handle(handle: str) -> AttachmentRefused:
    return AttachmentRefused(
        f"There is no stored file {brief(handle, 80)}.", "Store it with `outspool attach`, and use what that prints."
    )
