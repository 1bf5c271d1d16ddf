"""Files: where they are read from and where they are kept."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from outspool.domain.principal import Scope


class BlobStore(Protocol):
    """Files, each under its digest (SHA-256, lower-case hex): what is under a digest never changes, and is there once.

    Each method raises `BlobsUnavailable` when the place cannot be used now, and `ValueError` for what is no digest.
    Memory stays small, however large a file and however many at once.
    """

    async def put(self, digest: str, size: int, chunks: AsyncIterable[bytes]) -> None:
        """Commit a file of `size` bytes; once this returns it survives any crash. If it is there already, do nothing.

        Raises `AttachmentRefused` when `chunks` are other bytes than those announced: a file that somebody writes to.
        Whatever is raised, nothing is stored then.
        """
        ...

    def open(self, digest: str, size: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Return the bytes, in chunks, from where nothing but this machine can fail.

        Raises `AttachmentLost` when the file is not there, or not of this `size`; the chunks raise it before the last
        of them when the bytes are other ones than were stored.
        """
        ...

    async def size(self, digest: str) -> int | None:
        """Return how large the file is, None when it is not there."""
        ...

    async def delete(self, digest: str) -> None:
        """Remove the file, if it is there."""
        ...

    async def check(self) -> None:
        """Write something, read it back and remove it; raise `BlobsUnavailable` that says what does not work."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class BlobLedger(Protocol):
    """Which files this outbox has stored or is about to, and until when they are kept without an email (UTC).

    Raises like `EmailStore`. A file is noted before it is stored, so that none is ever forgotten; one that is kept, or
    that an email has, is not removed, so that no email loses one.
    """

    async def note(self, sizes: Mapping[str, int], *, kept_until: datetime) -> None:
        """Commit that files of these digests and sizes (bytes) are kept until then at least.

        Raises `StoreUnavailable` when one of them is being removed at this very moment.
        """
        ...

    async def condemn(self, *, at: datetime, limit: int) -> Sequence[str]:
        """Commit that files no email has, and that are no longer kept at `at`, are being removed; return them.

        Remove them within the hour: what stays condemned for longer is given to the next who asks.
        """
        ...

    async def forget(self, digests: Collection[str]) -> None:
        """Commit that these condemned files are removed."""
        ...


class BlobHandles(Protocol):
    """What callers name stored files by. Raises like `EmailStore`.

    A handle is random, and belongs to the owner and the sender it was issued for. A digest would do for neither:
    whoever guesses what is in a file knows its digest, could send the file, and would learn that somebody has it.
    """

    async def issue(self, digest: str, owner: str) -> str:
        """Commit and return a new handle (64 lower-case hexadecimal digits) of a file that was noted in the ledger."""
        ...

    async def find(self, token: str, scope: Scope) -> str | None:
        """Return the digest of the file, None for a handle outside `scope` or of no file."""
        ...


class SourceFile(Protocol):
    """A file that is open for as long as somebody needs it."""

    @property
    def name(self) -> str:
        """What the caller calls it."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it has."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes, from the beginning each time.

        Raises `AttachmentRefused` when they are not `size` many, or cannot be read.
        """
        ...


class Files(Protocol):
    """The files of this machine that a caller may name."""

    def open(self, path: str) -> AbstractAsyncContextManager[SourceFile]:
        """Open one regular file; raise `AttachmentRefused` for anything else, and for what nobody may send."""
        ...


class TemplateSource(Protocol):
    """Where the files of templates are, by names such as ``report.html``. Both methods may read from a disk."""

    def names(self) -> Sequence[str]:
        """Return the files that make up templates, in the order of their names."""
        ...

    def read(self, name: str) -> str | None:
        """Return the text of a file, None when there is none of this name.

        Raises `TemplateError` when it is not to be read: unreadable, too large, or not text.
        """
        ...
