"""Validates a caller's description of an attachment, and decodes inline content."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from outspool.domain.attachment import (
    UNKNOWN_TYPE,
    Attachment,
    check_content_id,
    check_content_type,
    check_filename,
    guess_content_type,
)
from outspool.errors import AttachmentRefused, brief
from outspool.services.acceptance.base64_content import decode_base64, read_media_type

_KINDS = ("text", "content", "path", "blob")
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRequest:
    """An attachment as the caller gives it: exactly one of `text`, `content`, `path` and `blob` is not None."""

    text: str | None = None
    content: str | None = None
    path: str | None = None
    blob: str | None = None
    filename: str | None = None
    content_type: str | None = None
    content_id: str | None = None


def check_kind(request: AttachmentRequest, field: str) -> None:
    """Raise `AttachmentRefused` unless exactly one kind of content is given."""
    kinds = [kind for kind in _KINDS if getattr(request, kind) is not None]
    if len(kinds) != 1:
        what = " and ".join(f"`{kind}`" for kind in kinds) or "nothing to attach"
        raise AttachmentRefused(f"{field} has {what}.", "Give exactly one of `text`, `content`, `path` and `blob`.")


def describe_attachment(request: AttachmentRequest, field: str, *, size: int, name: str | None = None) -> Attachment:
    """Return the validated attachment, still without digest. `name` is the file's own name."""
    name = request.filename if request.filename is not None else name
    if name is None:
        raise AttachmentRefused(f"{field} has no filename.", "Give one with an extension, like report.pdf.")
    name = check_filename(name, f"{field}.filename")
    kind = _read_content_type(request, name, field)
    content_id = None if request.content_id is None else check_content_id(request.content_id, f"{field}.content_id")
    return Attachment(filename=name, content_type=kind, content_id=content_id, size=size, digest="")


def check_description(request: AttachmentRequest, field: str) -> None:
    """Raise `AttachmentRefused` for what is wrong with the request itself, without opening its file."""
    check_kind(request, field)
    describe_attachment(request, field, size=0, name="file.bin" if request.path is not None else None)


def _read_content_type(request: AttachmentRequest, name: str, field: str) -> str:
    """Return the media type that the caller gives, that a ``data:`` URI names, or that the name suggests."""
    given = request.content_type
    if given is None and request.content is not None:
        given = read_media_type(request.content)
    kind = guess_content_type(name) if given is None else check_content_type(given, f"{field}.content_type")
    return kind if request.text is None else _text_content_type(kind)


def _text_content_type(kind: str) -> str:
    """Return the content type for `text`, whose charset is always UTF-8."""
    bare, *parameters = ("text/plain" if kind == UNKNOWN_TYPE else kind).split("; ")
    if not bare.startswith("text/"):
        return kind
    return "; ".join([bare, "charset=utf-8", *(p for p in parameters if not p.startswith("charset="))])


def check_content_ids(attachments: Sequence[Attachment]) -> None:
    """Raise `AttachmentRefused` if two attachments have the same content id."""
    ids = [attachment.content_id for attachment in attachments if attachment.content_id is not None]
    for content_id in ids:
        if ids.count(content_id) > 1:
            raise AttachmentRefused(
                f"Two attachments have the content_id {brief(content_id)}.", "Give each picture one of its own."
            )


@dataclass(frozen=True, slots=True)
class InlineFile:
    """A `SourceFile` whose content is in the request itself."""

    content: bytes
    name: str

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.content)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the bytes; see `SourceFile.chunks`."""
        for start in range(0, len(self.content), _CHUNK):
            yield self.content[start : start + _CHUNK]
            await asyncio.sleep(0)  # let other tasks run

    @classmethod
    def of(cls, request: AttachmentRequest, field: str) -> InlineFile:
        """Decode `text` or `content` of `request`; slow for megabytes. Raises `AttachmentRefused`."""
        content = (
            _encode_text(request.text or "", field)
            if request.content is None
            else decode_base64(request.content, f"{field}.content")
        )
        return cls(content, field)


def _encode_text(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise AttachmentRefused(
            f"{field}.text holds half a character (a lone surrogate) at {error.start + 1:,}.", "Send whole characters."
        ) from None
