"""Our message and the standard library's message of the same email are read as equal."""

from __future__ import annotations

import email.policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.utils import format_datetime

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.composing import an_email, as_received, compose_bytes, parsed

from outspool.domain.email import Email, Mailbox
from outspool.errors import InvalidArgument
from outspool.message.header_fields import check_names

WORD = st.text(st.sampled_from("abcXYZ019.,;:!?()'éßñжя日本😀-+/&%"), min_size=1, max_size=8)
PHRASE = st.lists(WORD, min_size=1, max_size=4).map(" ".join)
# In lists of long or non-ASCII names, as the standard library writes them, its own parser misses mailboxes.
NAME = st.lists(st.text("abcXYZ", min_size=1, max_size=6), max_size=3).map(" ".join)
FOREIGN_NAME = st.lists(st.text("abcéßжя日", min_size=1, max_size=6), max_size=3).map(" ".join)
ADDRESS = st.from_regex(r"[a-z0-9]{1,12}(\.[a-z0-9]{1,6})?@[a-z]{1,8}\.example", fullmatch=True)
MAILBOX = st.builds(Mailbox, address=ADDRESS, name=NAME)
BODY = st.lists(st.text("ab cé=日.\t-", max_size=100), min_size=1, max_size=10).map(
    lambda lines: "\n".join([*lines, ""])
)
FIELDS = st.fixed_dictionaries(
    {
        "sender": st.builds(Mailbox, address=ADDRESS, name=FOREIGN_NAME),
        "to": st.lists(MAILBOX, min_size=1, max_size=3).map(tuple),
        "cc": st.lists(MAILBOX, max_size=2).map(tuple),
        "subject": PHRASE,
        "body": BODY,
        "html": st.none() | BODY.map("<p>{}".format),
        "headers": st.dictionaries(st.sampled_from(["X-One", "X-Two"]), PHRASE, max_size=2),
    }
)


def by_the_standard_library(asked: Email) -> bytes:
    """Compose with `EmailMessage`."""
    content = asked.content
    message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
    message["Date"] = format_datetime(asked.date)
    message["From"] = Address(content.sender.name, addr_spec=content.sender.address)
    for name, mailboxes in (("To", content.to), ("Cc", content.cc)):
        if mailboxes:
            message[name] = [Address(m.name, addr_spec=m.address) for m in mailboxes]
    message["Subject"] = content.subject
    message["Message-ID"] = asked.message_id
    for name, value in content.headers.items():
        message[name] = value
    message.set_content(content.body)
    if content.html:
        message.add_alternative(content.html, subtype="html")
    return message.as_bytes()


def said_in(raw: bytes) -> list[object]:
    """Return what a reader sees: each part's type, text and headers, all decoded."""
    message = parsed(as_received(raw))
    seen: list[object] = [
        (str(name), sorted(a.addr_spec for a in value.addresses) if name in {"From", "To", "Cc"} else str(value))
        for name, value in message.items()
        if not name.lower().startswith(("content-", "mime-"))
    ]
    for part in message.walk():
        assert isinstance(part, EmailMessage)
        text = "" if part.is_multipart() else str(part.get_content()).replace("\r\n", "\n")
        seen.append((part.get_content_type(), part.get_content_charset(), text))
    return seen


@given(FIELDS)
@settings(max_examples=150, deadline=None)
def test_an_ordinary_email_says_what_the_standard_librarys_says(fields: dict[str, object]) -> None:
    asked = an_email(**fields)
    # An empty text gets an alternative here, and none there.
    assume(asked.content.body != "\n" or asked.content.html is None)
    assert said_in(compose_bytes(asked)) == said_in(by_the_standard_library(asked))


LINES = st.lists(
    st.sampled_from(
        [b"Subject: a", b"Bcc: x", b"To:", b" folded", b" ", b"", b"From x", b"A: b: c", b": d", b"\x0bX: y"]
    )
    | st.binary(max_size=4),
    max_size=5,
)


@given(LINES, st.sampled_from([b"\r\n", b"\n", b"\r", b"\x0c", b"\x1c", b"\x85"]))
@settings(max_examples=200)
def test_headers_that_pass_as_intended_are_those_the_standard_library_reads(lines: list[bytes], end: bytes) -> None:
    head = b"X-First: 1\r\n" + end.join(lines) + b"\r\n\r\n"
    names = [line.partition(b":")[0].decode("latin-1") for line in head.split(b"\r\n") if b":" in line[1:]]
    try:
        check_names(head, names)
    except InvalidArgument:
        return
    assert BytesHeaderParser().parsebytes(head).keys() == names
