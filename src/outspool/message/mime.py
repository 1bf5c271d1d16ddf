"""The parts of a message (RFC 2045, RFC 2046): texts, files and multiparts.

A file is laid out without its bytes: an `Entity` contains the `Attachment` itself in the place of its base64, so that a
message can be composed, checked and measured before any file is read.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from outspool.domain.attachment import Attachment
from outspool.message.header_fields import header_block, with_parameter
from outspool.message.transfer_encoding import encoded_text

Piece = bytes | Attachment

_HUGE = 1024 * 1024
"""Pieces larger than this many octets are not copied just to be joined."""

_CONTENT_ID_URL = re.compile(r"\bcid:([\w.+@=%-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entity:
    """MIME `fields`, each whole and without CRLF, and the body: octets and attachments."""

    fields: Sequence[str]
    body: Sequence[Piece]


def text(subtype: str, content: str, *, is_last: bool = False) -> Entity:
    """Return a ``text/…`` in UTF-8, for LF-ended `content`; `is_last` as in `encoded_text`."""
    encoding, body = encoded_text(content.encode(), is_last=is_last)
    fields = [f'Content-Type: text/{subtype}; charset="utf-8"', f"Content-Transfer-Encoding: {encoding}"]
    return Entity(fields, [body])


def file(attachment: Attachment, *, is_inline: bool = False) -> Entity:
    """Return an attachment (RFC 2183) in base64, which preserves its bytes, even line ends of text.

    `is_inline`: the HTML beside it refers to it by content id (RFC 2392).
    """
    fields = [
        f"Content-Type: {attachment.content_type}",
        "Content-Transfer-Encoding: base64",
        with_parameter(
            f"Content-Disposition: {'inline' if is_inline else 'attachment'}", "filename", attachment.filename
        ),
    ]
    if attachment.content_id is not None:
        fields.append(f"Content-ID: <{attachment.content_id}>")
    return Entity(fields, [attachment])


def multipart(subtype: str, token: str, entities: Sequence[Entity], **parameters: str) -> Entity:
    """Return ``multipart/…`` of `entities`; a single entity is returned as it is.

    `token` makes the boundary: always the same for one email, and different for each multipart within it. No text
    contains a boundary, because `encoded_text` leaves no line beginning with ``--=_``.
    """
    if len(entities) == 1:
        return entities[0]
    boundary = f"=_{subtype}_{token}"
    match = "".join(f'\r\n {name}="{value}";' for name, value in parameters.items())
    return Entity(
        [f'Content-Type: multipart/{subtype};{match}\r\n boundary="{boundary}"'],
        list(_delimit(entities, boundary.encode())),
    )


def find_shown_ids(markup: str) -> frozenset[str]:
    """Return the content ids that HTML refers to as ``cid:…`` (RFC 2392 §2)."""
    return frozenset(map(unquote, _CONTENT_ID_URL.findall(html.unescape(markup))))


def join_pieces(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield `pieces` with adjacent octets joined into one; huge pieces stay separate."""
    octets: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes) and len(piece) < _HUGE:
            octets.append(piece)
        else:
            yield b"".join(octets)
            octets.clear()
            yield piece
    yield b"".join(octets)


def _delimit(entities: Iterable[Entity], boundary: bytes) -> Iterator[Piece]:
    line_end = b""
    for entity in entities:
        # The line end before a delimiter belongs to the delimiter, not to the body (RFC 2046 §5.1.1).
        yield b"%b--%b\r\n%b" % (line_end, boundary, header_block(entity.fields))
        yield from entity.body
        line_end = b"\r\n"
    yield b"\r\n--%b--\r\n" % boundary
