"""Emails to compose, and the standard library's reading of the result."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses
from uuid import UUID

from outspool.domain.email import Content, Email, Mailbox
from outspool.domain.status import EmailStatus
from outspool.message.compose import compose, new_message_id

AT = datetime(2026, 11, 22, 9, 30, 15, 999_999, tzinfo=UTC)
ID = UUID("0191e3a2-7c00-7000-8000-0123456789ab")
SENDER = Mailbox(address="me@example.org", name="Me")
ANN = Mailbox(address="ann@example.com")


def an_email(**content: object) -> Email:
    """Return an accepted email; whatever is not given is plain."""
    fields: dict[str, object] = {"sender": SENDER, "to": (ANN,), "subject": "Hello", "body": "Hi\n"}
    return Email(
        id=ID,
        status=EmailStatus.QUEUED,
        content=Content(**(fields | content)),  # type: ignore[arg-type]
        recipients=(),
        message_id=new_message_id(ID, SENDER),
        date=AT,
        created_at=AT,
        due_at=AT,
        expires_at=AT,
        identity="me@example.org",
    )


def compose_bytes(email: Email) -> bytes:
    """Return the message of an email without attachments."""
    return compose(email).octets()


def parsed(raw: bytes) -> EmailMessage:
    """Read a message as a modern Python program does."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def mailboxes_in(raw: bytes, field: str) -> list[tuple[str, str]]:
    """Read names and addresses of a field as older programs do: split first, then decode each name (RFC 2047 §6.2)."""
    value = re.sub(r"\r\n(?=[ \t])", "", str(email.message_from_bytes(raw)[field]))
    return [(str(make_header(decode_header(name))), address) for name, address in getaddresses([value])]


def as_received(raw: bytes) -> bytes:
    """Return what a server stores: SMTP ends the last line if the message does not (RFC 5321 §4.1.1.4)."""
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def text_of(message: EmailMessage, subtype: str) -> str:
    """Return the text of the part of this subtype with LF line ends."""
    part = next(p for p in message.walk() if p.get_content_type() == f"text/{subtype}")
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")


def assert_wire_safe(raw: bytes) -> None:
    """Assert what every server on the way may count on."""
    raw.decode("ascii")
    assert b"\0" not in raw
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw), "a bare CR or LF"
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    head, _, _ = raw.partition(b"\r\n\r\n")
    assert not re.search(rb"\r\n[ \t]*(\r\n|\Z)", head), "a folded line of nothing"
