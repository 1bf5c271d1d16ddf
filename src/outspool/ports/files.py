"""Files to attach, stored blobs, and template files."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from outspool.domain.principal import Scope


class BlobStore(Protocol):
    """Stored files by their digest (SHA-256, lower-case hex); the content under a digest never changes.

    Each method raises `BlobsUnavailable` if the store cannot be used now, and `ValueError` for an invalid digest.
    Memory use is small, however large and many the files.
    """

    async def put(self, digest: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """Store a file of `size` bytes durably; does nothing if it is stored already.

        Raises `AttachmentRefused` if `chunks` do not match, because the file is being written. If this raises, nothing
        is stored.
        """
        ...

    def open(self, digest: str, size: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return the bytes in chunks, from this machine only, so that no network can fail while they are read.

        Raises `AttachmentLost` if the file is missing or has another `size`; the chunks raise it before the last one if
        the content differs.
        """
        ...

    async def size(self, digest: str) -> int | None:
        """Return the file's size in bytes; None if it is missing."""
        ...

    async def delete(self, digest: str) -> None:
        """Delete the file if it exists."""
        ...

    async def check(self) -> None:
        """Write, read and delete a test file; raise `BlobsUnavailable` with what does not work."""
        ...

    async def close(self) -> None:
        """Close open connections."""
        ...


class BlobLedger(Protocol):
    """The digests of stored files, and how long each is kept without an email (UTC).

    Raises like `EmailStore`. A file is noted before it is stored, so that none is forgotten. A file that is kept, or
    belongs to an email, is not deleted.
    """

    async def note(self, sizes: Mapping[str, int], *, kept_until: datetime) -> None:
        """Keep files of these digests and sizes (bytes) until `kept_until` at least.

        Raises `StoreUnavailable` if one of them is being deleted now.
        """
        ...

    async def condemn(self, *, at: datetime, limit: int) -> Sequence[str]:
        """Mark files for deletion that no email has and that are no longer kept at `at`; return them.

        The caller deletes them within an hour; after that another caller may get them.
        """
        ...

    async def forget(self, digests: Collection[str]) -> None:
        """Remove these deleted files from the ledger."""
        ...


class BlobHandles(Protocol):
    """Handles by which callers name stored files. Raises like `EmailStore`.

    A handle is random, and bound to an owner and a sender. A digest would not do: whoever guesses a file's content
    knows its digest, could send the file, and would learn that somebody has it.
    """

    async def issue(self, digest: str, owner: str) -> str:
        """Create a handle (64 lower-case hexadecimal digits) for a file in the ledger."""
        ...

    async def find(self, token: str, scope: Scope) -> str | None:
        """Return the file's digest; None for a handle that is unknown or outside `scope`."""
        ...


class SourceFile(Protocol):
    """An open file."""

    @property
    def name(self) -> str:
        """The file's name."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes, from the beginning at every call.

        Raises `AttachmentRefused` if there are not exactly `size`, or they cannot be read.
        """
        ...


class Files(Protocol):
    """The local files that a caller may attach."""

    def open(self, path: str) -> AbstractAsyncContextManager[SourceFile]:
        """Open one regular file; `AttachmentRefused` for anything else, and for files that must not be sent."""
        ...


class TemplateSource(Protocol):
    """Template files by name, such as ``report.html``. Both methods may read from disk."""

    def names(self) -> Sequence[str]:
        """Return the names of template files, sorted."""
        ...

    def read(self, name: str) -> str | None:
        """Return a file's text; None if there is none of this name.

        Raises `TemplateError` if it is unreadable, too large, or not text.
        """
        ...
