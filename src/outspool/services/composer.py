"""Turns an email into the bytes that go on the wire (RFC 5322, RFC 2045 to 2047).

Pure: the same email gives the same bytes at every attempt. Nothing but ASCII in short lines comes out, so that no
server on the way has a reason to change it, and what a mail program reads back is exactly what was asked.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from email.utils import format_datetime
from uuid import UUID

from outspool.domain.email import Content, Email, Mailbox, Priority
from outspool.errors import InvalidArgument, brief
from outspool.services.header_fields import address_field, custom_field, id_field, text_field
from outspool.services.text_alternative import text_alternative
from outspool.services.transfer_encoding import encoded_text

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

_LARGE = 200_000
"""Characters of text that take longer to compose than a caller of anything else should wait."""
_HEAD = re.compile(rb"(?:[!-9;-~]+:(?: [ -~]*)?\r\n(?: (?= *[!-~])[ -~]*\r\n)*)+\r\n")
"""A header block in which no reader can find a line end but these: printable ASCII, folded lines of something."""
_FIELD_NAME = re.compile(rb"^([!-9;-~]+):", re.MULTILINE)


def compose(email: Email) -> bytes:
    """Return the message of `email`: CRLF line ends, ASCII only, no line over 998 octets.

    ``Bcc`` is never written. Line ends of a body may be LF, CRLF or CR; all else in it is kept, also that its last
    line has none. An HTML body without a plain one gets a text alternative.

    Raises `InvalidArgument` (for an address `InvalidAddress`) for what no message can carry: control characters or
    lone surrogates in a header, reserved or malformed header names, malformed addresses and message ids.
    """
    fields = [*_fields(email), "MIME-Version: 1.0"]
    mime_fields, body = _entity(email)
    head = "\r\n".join([*fields, *mime_fields, "", ""]).encode("ascii")
    _check_names(head, [field.partition(":")[0] for field in (*fields, *mime_fields)])
    return head + body


async def composed(email: Email) -> bytes:
    """Return `compose` of the email; a large one is composed in a thread, so that nobody waits for it."""
    size = len(email.content.body or "") + len(email.content.html or "")
    return await asyncio.to_thread(compose, email) if size > _LARGE else compose(email)


def new_message_id(email_id: UUID, sender: Mailbox) -> str:
    """Return the Message-ID of an email (RFC 5322 §3.6.4), unique as `email_id` is, in the sender's domain."""
    return f"<{email_id.hex}@{sender.address.rpartition('@')[2]}>"


def _fields(email: Email) -> Iterator[str]:
    """Yield every header field but those of MIME, in the order people are used to."""
    content = email.content
    yield f"Date: {format_datetime(email.date)}"
    yield address_field("From", [content.sender])
    yield from _recipient_fields(content)
    if content.reply_to:
        yield address_field("Reply-To", content.reply_to)
    yield text_field("Subject", content.subject)
    yield id_field("Message-ID", [email.message_id])
    if content.in_reply_to is not None:
        yield id_field("In-Reply-To", [content.in_reply_to])
    if content.references:
        yield id_field("References", content.references)
    yield from _PRIORITIES[content.priority]
    for name, value in content.headers.items():
        if name.lower() in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
            raise InvalidArgument(f"The header {brief(name)} is written by outspool alone.", "Leave it out.")
        yield custom_field(name, value)


def _recipient_fields(content: Content) -> Iterator[str]:
    if content.to:
        yield address_field("To", content.to)
    if content.cc:
        yield address_field("Cc", content.cc)
    if not content.to and not content.cc:
        # An empty group (RFC 5322 §A.1.3): some servers refuse a message without any recipient field.
        yield "To: undisclosed-recipients:;"


def _entity(email: Email) -> tuple[list[str], bytes]:
    """Return the MIME fields and the body: one text, or the same said twice (RFC 2046 §5.1.4), plain first."""
    html = _normalised(email.content.html or "")
    plain = _normalised(email.content.body or "") or (text_alternative(html) if html else "")
    if not html:
        return _text("plain", plain, is_last=True)
    if not plain:
        return _text("html", html, is_last=True)
    boundary = f"=_{email.id.hex}"
    lines: list[bytes] = []
    for fields, body in (_text("plain", plain), _text("html", html)):
        lines += [f"--{boundary}".encode(), *(field.encode() for field in fields), b"", body]
    lines += [f"--{boundary}--".encode(), b""]
    return [f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"'], b"\r\n".join(lines)


def _normalised(text: str) -> str:
    """Return `text` with LF for every line end; raise `InvalidArgument` for half a character."""
    try:
        text.encode()
    except UnicodeEncodeError as bad:
        raise InvalidArgument(
            f"The body holds half a character (a lone surrogate) at {bad.start + 1:,}.", "Send whole characters."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _text(subtype: str, text: str, *, is_last: bool = False) -> tuple[list[str], bytes]:
    """Return the MIME fields and the encoded octets of a text; see `encoded_text`."""
    encoding, body = encoded_text(text.encode(), is_last=is_last)
    return [f'Content-Type: text/{subtype}; charset="utf-8"', f"Content-Transfer-Encoding: {encoding}"], body


def _check_names(head: bytes, intended: list[str]) -> None:
    """Read the header block again and raise `InvalidArgument` unless it holds the intended fields and no other.

    Nothing is known that gets here; but a smuggled header is a hidden recipient, so nobody's code is trusted alone.
    """
    if not _HEAD.fullmatch(head) or _FIELD_NAME.findall(head) != [name.encode() for name in intended]:
        raise InvalidArgument(
            "The headers of this email would be read as other headers.", "Simplify names and subject."
        )
