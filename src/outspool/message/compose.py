"""Composes an email into message bytes (RFC 5322, RFC 2045 to 2047).

Pure: the same email gives the same bytes at every attempt. The output is ASCII in short lines, so that no relay has a
reason to change it, and mail programs read back exactly what the caller wrote.

The bytes of attachments are not read here. `Message` knows its size and marks the place of each attachment;
`outspool.services.message_stream` reads, encodes and releases them one piece at a time while the message is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from uuid import UUID

from outspool.domain.attachment import Attachment
from outspool.domain.email import Content, Email, Mailbox, Priority
from outspool.errors import InvalidArgument, brief
from outspool.message.header_fields import address_field, header_block, id_field, text_field
from outspool.message.mime import Entity, Piece, file, find_shown_ids, join_pieces, multipart, text
from outspool.message.structured_fields import format_custom_fields
from outspool.message.text_alternative import build_text_alternative
from outspool.message.transfer_encoding import base64_size

_PRIORITIES = {
    Priority.HIGH: ("X-Priority: 1", "Importance: high"),
    Priority.NORMAL: (),
    Priority.LOW: ("X-Priority: 5", "Importance: low"),
}
_RESERVED = frozenset(
    {
        *("date", "from", "sender", "to", "cc", "bcc", "reply-to", "subject"),
        *("message-id", "in-reply-to", "references", "return-path", "received"),
        *("x-priority", "importance", "mime-version"),
    }
)
_RESERVED_PREFIXES = ("content-", "resent-")

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Message:
    """A composed message: bytes, with each attachment in the place of its base64."""

    pieces: Sequence[Piece]

    @property
    def size(self) -> int:
        """Size in octets including encoded attachments (RFC 1870 §5)."""
        return sum(len(piece) if isinstance(piece, bytes) else base64_size(piece.size) for piece in self.pieces)

    def octets(self) -> bytes:
        """Return the whole message. Raises `ValueError` if it has attachments, which may not fit in memory."""
        if any(isinstance(piece, Attachment) for piece in self.pieces):
            raise ValueError("A message with attachments has to be streamed.")
        return b"".join(piece for piece in self.pieces if isinstance(piece, bytes))


def compose(email: Email) -> Message:
    """Return the message of `email`: CRLF line ends, ASCII only, no line over 998 octets.

    ``Bcc`` is never written. Line ends of a body may be LF, CRLF or CR; everything else in it is preserved, even a
    missing final line end. An HTML body without a plain one gets a text alternative.

    Raises `InvalidArgument` (`InvalidAddress` for an address) for what no message can carry: control characters or lone
    surrogates in a header, reserved or malformed header names, malformed addresses and message ids, malformed list and
    auto-reply fields.
    """
    entity = _entity(email)
    head = header_block([*_fields(email), "MIME-Version: 1.0", *entity.fields])
    return Message(tuple(join_pieces([head, *entity.body])))


def new_message_id(email_id: UUID, sender: Mailbox) -> str:
    """Return the Message-ID of an email (RFC 5322 §3.6.4), unique as `email_id` is, in the sender's domain."""
    return f"<{email_id.hex}@{sender.address.rpartition('@')[2]}>"


def _fields(email: Email) -> Iterator[str]:
    """Yield every header field except those of MIME, in the usual order."""
    content = email.content
    yield f"Date: {format_datetime(email.date)}"
    yield address_field("From", [content.sender])
    yield from _recipient_fields(content)
    if content.reply_to:
        yield address_field("Reply-To", content.reply_to)
    yield text_field("Subject", content.subject)
    yield id_field("Message-ID", [email.message_id])
    yield from _thread_fields(content)
    yield from _PRIORITIES[content.priority]
    for name in content.headers:
        if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
            raise InvalidArgument(f"The header {brief(name)} is written by outspool alone.", "Leave it out.")
    yield from format_custom_fields(content.headers)


def _recipient_fields(content: Content) -> Iterator[str]:
    if content.to:
        yield address_field("To", content.to)
    if content.cc:
        yield address_field("Cc", content.cc)
    if not content.to and not content.cc:
        # An empty group (RFC 5322 §A.1.3), because some servers reject a message without any recipient field.
        yield "To: undisclosed-recipients:;"


def _thread_fields(content: Content) -> Iterator[str]:
    """Yield the threading fields (RFC 5322 §3.6.4): the parent, and the thread, which ends with the parent.

    Mail programs use only one of the two fields, and take the last of References for the parent.
    """
    parent = content.in_reply_to
    if parent is None and content.references:
        parent = content.references[-1]
    if parent is not None:
        yield id_field("In-Reply-To", [parent])
        yield id_field("References", [*(earlier for earlier in content.references if earlier != parent), parent])


def _entity(email: Email) -> Entity:
    """Return the body: the texts as alternatives, plain first (RFC 2046 §5.1.4), wrapped together with the files."""
    content, token = email.content, email.id.hex
    plain, markup = build_alternatives(content)
    is_alone = not (content.attachments or (plain and markup))
    shown = find_shown_ids(markup) if any(a.content_id for a in content.attachments) else frozenset()
    texts = []
    if plain or not markup:
        texts.append(text("plain", plain, is_last=is_alone))
    if markup:
        pictures = [file(a, is_inline=True) for a in content.attachments if a.content_id in shown]
        page = text("html", markup, is_last=is_alone)
        texts.append(multipart("related", token, [page, *pictures], type="text/html"))
    files = [file(a) for a in content.attachments if a.content_id not in shown]
    return multipart("mixed", token, [multipart("alternative", token, texts), *files])


def build_alternatives(content: Content) -> tuple[str, str]:
    """Return the plain text and HTML to send; each may be empty.

    Raises `InvalidArgument` for lone surrogates.
    """
    html = _normalize(content.html or "")
    return _normalize(content.body or "") or (build_text_alternative(html) if html else ""), html


def _normalize(text: str) -> str:
    """Return `text` with LF line ends; `InvalidArgument` for lone surrogates."""
    if bad := _HALF_CHARACTER.search(text):
        raise InvalidArgument(
            f"The body holds half a character (a lone surrogate) at {bad.start() + 1:,}.", "Send whole characters."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
