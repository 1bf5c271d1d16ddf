"""Composed messages, read by the standard library's parsers, are exactly what was requested."""

from __future__ import annotations

import dataclasses
import email
import re
from collections.abc import Callable
from email.header import decode_header, make_header
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.composing import (
    ANN,
    ID,
    SENDER,
    an_email,
    as_received,
    assert_wire_safe,
    compose_bytes,
    mailboxes_in,
    parsed,
    text_of,
)

from outspool.domain.email import Content, Mailbox, Priority
from outspool.errors import InvalidAddress, InvalidArgument
from outspool.message.compose import new_message_id
from outspool.message.header_fields import check_names

ATTACK = "=?utf-8?q?x=0D=0ABcc=3Aevil=40example.net?="


def on_wire(mailboxes: tuple[Mailbox, ...]) -> list[tuple[str, str]]:
    return [(m.name, m.address) for m in mailboxes]


ODD = st.sampled_from(
    [
        "=?",
        "?=",
        "=?utf-8?q?a?=",
        "=?utf-8?b?",
        ATTACK,
        "  ",
        " ",
        "\t",
        '"',
        "\\",
        ",",
        ";",
        "(",
        ")",
        "<",
        ">",
        "@",
        ":",
        "x" * 80,
        "ü" * 40,
        "😀" * 20,
        "e\u0301",
        "שלום",
        "\u202e",
        "\u200d",
        "\ufeff",
        "\u00a0",
        "\u3000",
        ".",
        "a.b",
        "_",
        "=",
    ]
)
LINE = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
TEXT = st.lists(st.one_of(ODD, st.text(LINE, max_size=8)), max_size=12).map("".join)
BODY = st.lists(
    st.one_of(
        ODD,
        st.text(st.characters(codec="utf-8"), max_size=30),
        st.sampled_from(
            [
                "\r\n",
                "\n",
                "\r",
                "\n\n",
                ".",
                "\n.\n",
                "From ",
                f"--=_{ID.hex}",
                f"\n--=_{ID.hex}--\n",
                " \n",
                "a" * 2000,
            ]
        )
        | st.integers(70, 80).map("y".__mul__),
    ),
    max_size=12,
).map("".join)
LABEL = st.from_regex(r"[a-z0-9]{1,20}(-[a-z0-9]{1,20})?", fullmatch=True)
ADDRESS = st.builds(
    "{}@{}.example".format, st.from_regex(r"[A-Za-z0-9!#$%&'*+/=^_`{|}~-]{1,64}", fullmatch=True), LABEL
)
MAILBOX = st.builds(Mailbox, address=ADDRESS, name=TEXT)
MESSAGE_ID = st.builds("<{}@{}>".format, st.text("abc.+$-_=/%", min_size=1, max_size=250), LABEL)
CONTENT = st.fixed_dictionaries(
    {
        "sender": MAILBOX,
        "to": st.lists(MAILBOX, max_size=4).map(tuple),
        "cc": st.lists(MAILBOX, max_size=3).map(tuple),
        "bcc": st.lists(MAILBOX, max_size=3).map(tuple),
        "reply_to": st.lists(MAILBOX, max_size=2).map(tuple),
        "subject": TEXT,
        "body": st.none() | BODY,
        "html": st.none() | BODY.map("<p>x{}".format),
        "in_reply_to": st.none() | MESSAGE_ID,
        "references": st.lists(MESSAGE_ID, max_size=6).map(tuple),
        "headers": st.dictionaries(LABEL.map("X-{}".format), TEXT, max_size=3),
        "priority": st.sampled_from(Priority),
    }
)


def intended_names(content: Content) -> list[str]:
    """Return the names of all the headers that this content calls for."""
    wanted = {
        "Date": True,
        "From": True,
        "To": content.to or not content.cc,
        "Cc": content.cc,
        "Reply-To": content.reply_to,
        "Subject": True,
        "Message-ID": True,
        "In-Reply-To": content.in_reply_to or content.references,
        "References": content.in_reply_to or content.references,
        "X-Priority": content.priority is not Priority.NORMAL,
        "Importance": content.priority is not Priority.NORMAL,
        **dict.fromkeys(content.headers, True),
        "MIME-Version": True,
        "Content-Type": True,
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


@given(CONTENT)
@example({"subject": ATTACK, "sender": Mailbox(address="a@b.example", name=ATTACK), "headers": {"X-A": ATTACK}})
@example({"body": f"a\n--=_{ID.hex}--\nb", "html": f"--=_{ID.hex}"})
@settings(max_examples=150, deadline=None)
def test_what_is_parsed_is_what_was_asked(fields: dict[str, object]) -> None:
    asked = an_email(**fields)
    content = asked.content
    raw = compose_bytes(asked)
    assert_wire_safe(raw)
    assert compose_bytes(dataclasses.replace(asked, attempts=3, version=7)) == raw
    message = parsed(as_received(raw))

    assert [n for n in message if n != "Content-Transfer-Encoding"] == intended_names(content)
    assert message["Subject"] == content.subject
    assert message["Message-ID"] == asked.message_id
    parent = content.in_reply_to or next(reversed(content.references), None)
    earlier = [i for i in content.references if i != parent]
    assert message["In-Reply-To"] == parent
    assert (message["References"] or "").split() == [*earlier, *([parent] if parent else [])]
    for name, value in content.headers.items():
        assert message[name] == value
    assert_mailboxes(raw, message, content)
    if content.body:
        assert text_of(message, "plain") == content.body.replace("\r\n", "\n").replace("\r", "\n")
    if content.html:
        assert text_of(message, "html") == content.html.replace("\r\n", "\n").replace("\r", "\n")
    assert all(not part.defects for part in message.walk())


def assert_mailboxes(raw: bytes, message: EmailMessage, content: Content) -> None:
    """Assert that every address field lists exactly the mailboxes asked for."""
    for field, asked in {
        "From": (content.sender,),
        "To": content.to,
        "Cc": content.cc,
        "Reply-To": content.reply_to,
    }.items():
        if asked:
            assert mailboxes_in(raw, field) == on_wire(asked)
            assert [a.addr_spec for a in message[field].addresses] == [m.address for m in asked]


@pytest.mark.parametrize(
    "name",
    [
        "Ann",
        "Ann Example",
        "Doe, John",
        'John "Jack" Doe',
        "back\\slash",
        "J. R. R. (Ronald)",
        "a@b.example",
        "<a@b.example>",
        "Jörg Müller",
        "Müller, Jörg",
        "日本語の名前",
        "😀 Team 👩‍👩‍👧",
        "שלום עולם",
        "e\u0301 combining",
        "undisclosed-recipients:;",
        ATTACK,
        "=?utf-8?q?a?=",
        "word " * 40 + "end",
        'quo"te ' * 25 + "end",
    ],
)
def test_a_display_name_comes_out_as_it_went_in(name: str) -> None:
    raw = compose_bytes(an_email(to=(Mailbox(address="ann@example.com", name=name), SENDER)))
    assert mailboxes_in(raw, "To") == [(name, "ann@example.com"), ("Me", "me@example.org")]
    modern = [(a.display_name, a.addr_spec) for a in parsed(raw)["To"].addresses]
    assert modern == [(name, "ann@example.com"), ("Me", "me@example.org")]


# Python's newer parser (3.11) collapses white space in names, and adds some between encoded words (RFC 2047 §6.2).
@pytest.mark.parametrize(
    "name", [" leading", "trailing ", "two  spaces", "\ttab", '" "', "ünïcode " * 20 + "end", "x" * 200, '"  x" ' * 40]
)
def test_white_space_and_length_of_a_display_name_are_kept(name: str) -> None:
    raw = compose_bytes(an_email(to=(Mailbox(address="ann@example.com", name=name),)))
    assert mailboxes_in(raw, "To") == [(name, "ann@example.com")]


@pytest.mark.parametrize(
    "subject",
    [
        "",
        " ",
        "Re: x",
        " leading and trailing ",
        "two  spaces",
        f"many{' ' * 200}spaces",
        "a\tb",
        "x" * 2000,
        "word " * 300 + "end",
        "ü" * 500,
        "😀" * 300,
        "=?utf-8?q?a?=",
        f"Re: {ATTACK}",
        "a =?b",
        "?=",
        "e\u0301" * 90,
        "שלום \u202e",
    ],
)
def test_a_subject_comes_out_as_it_went_in(subject: str) -> None:
    raw = compose_bytes(an_email(subject=subject))
    assert_wire_safe(raw)
    assert parsed(raw)["Subject"] == subject
    old_parser = re.sub(r"\r\n(?=[ \t])", "", email.message_from_bytes(raw)["Subject"])
    assert str(make_header(decode_header(old_parser))) == subject
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    "body", ["", "x", "x\n", "x\n\n", "\n", " ", "x ", "x" * 76, "é" + "x" * 70 + "é", "日本", "日本\n"]
)
@pytest.mark.parametrize("html", [None, "<p>x"])
def test_a_last_line_end_is_neither_added_nor_lost(body: str, html: str | None) -> None:
    raw = as_received(compose_bytes(an_email(body=body, html=html)))
    if body or not html:
        assert text_of(parsed(raw), "plain") == body


@given(st.text("xé =\n", min_size=60, max_size=160))
@example("x" * 76)
@example("x" * 152)
@example("=y" + "x" * 72)
@example("x" * 72 + "=y")
@settings(max_examples=300, deadline=None)
def test_a_body_near_the_width_of_a_line_keeps_its_end(body: str) -> None:
    raw = as_received(compose_bytes(an_email(body=body)))
    assert text_of(parsed(raw), "plain") == body
    assert max(map(len, raw.split(b"\r\n"))) <= 76


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("Hello\n", "7bit"),
        ("Grüße aus Köln, mit vielen Worten\n", "quoted-printable"),
        ("x" * 1000 + "\n", "quoted-printable"),
        ("-- \nAnn\n", "quoted-printable"),
        ("Привет, мир\n", "base64"),
        ("😀\n", "base64"),
    ],
)
def test_the_encoding_suits_the_text(body: str, encoding: str) -> None:
    message = parsed(compose_bytes(an_email(body=body)))
    assert message["Content-Transfer-Encoding"] == encoding
    assert message["Content-Type"] == 'text/plain; charset="utf-8"'


def test_encoded_text_has_the_line_ends_of_mail() -> None:
    """A line break in a text is CRLF also before it is encoded (RFC 2046 §4.1.1)."""
    assert parsed(compose_bytes(an_email(body="日\n本\n"))).get_payload(decode=True) == "日\r\n本\r\n".encode()


def test_plain_and_html_are_alternatives_and_plain_comes_first() -> None:
    message = parsed(compose_bytes(an_email(body="Hi", html="<p>Hi</p>")))
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_html_alone_gets_a_text_alternative() -> None:
    message = parsed(compose_bytes(an_email(body=None, html='<p>See <a href="https://example.org/x">this</a></p>')))
    assert text_of(message, "plain") == "See [this](https://example.org/x)\n"
    assert text_of(message, "html") == '<p>See <a href="https://example.org/x">this</a></p>'


def test_html_with_nothing_to_read_stays_alone() -> None:
    message = parsed(compose_bytes(an_email(body=None, html='<img src="cid:x">\n')))
    assert message.get_content_type() == "text/html"
    assert message.get_content() == '<img src="cid:x">\r\n'


def test_bcc_is_in_no_header() -> None:
    raw = compose_bytes(an_email(to=(), bcc=(Mailbox(address="hidden@example.net", name="Hidden"),)))
    assert b"hidden" not in raw.lower()
    assert b"\r\nTo: undisclosed-recipients:;\r\n" in raw
    assert parsed(raw)["To"].addresses == ()


def test_cc_alone_needs_no_to() -> None:
    message = parsed(compose_bytes(an_email(to=(), cc=(ANN,))))
    assert message["To"] is None
    assert message["Cc"] == "ann@example.com"


def test_the_date_is_that_of_acceptance() -> None:
    assert parsed(compose_bytes(an_email()))["Date"] == "Sun, 22 Nov 2026 09:30:15 +0000"


@pytest.mark.parametrize(
    ("priority", "x_priority", "importance"),
    [(Priority.HIGH, "1", "high"), (Priority.NORMAL, None, None), (Priority.LOW, "5", "low")],
)
def test_priority_is_told_to_mail_programs(priority: Priority, x_priority: str | None, importance: str | None) -> None:
    message = parsed(compose_bytes(an_email(priority=priority)))
    assert (message["X-Priority"], message["Importance"]) == (x_priority, importance)


def test_a_long_url_in_a_header_of_the_callers_own_stays_whole() -> None:
    url = f"<https://example.org/{'u' * 900}>"
    assert f"List-Unsubscribe: {url}\r\n".encode() in compose_bytes(an_email(headers={"List-Unsubscribe": url}))


def test_message_ids_are_folded_between_and_never_within() -> None:
    ids = tuple(f"<{i}{'x' * 240}@example.org>" for i in range(50))
    raw = compose_bytes(an_email(references=ids, in_reply_to=f"<{'x' * 993}@y>"))
    assert all(id_.encode() in raw for id_ in ids)
    assert_wire_safe(raw)
    assert parsed(raw)["In-Reply-To"].strip() == f"<{'x' * 993}@y>"


UNSAFE = ["\r\nBcc: evil@example.net", "\n", "\r", "\0", "\x0b", "\x1b", "\x7f", "\x85", "\u2028", "\ud83d", "\udce9"]


@pytest.mark.parametrize("unsafe", UNSAFE)
@pytest.mark.parametrize(
    "place",
    [
        lambda x: {"subject": f"a{x}b"},
        lambda x: {"sender": Mailbox(address="me@example.org", name=f"a{x}b")},
        lambda x: {"to": (Mailbox(address=f"ann@example.com{x}"),)},
        lambda x: {"cc": (Mailbox(address="ann@example.com", name=x),)},
        lambda x: {"reply_to": (Mailbox(address="ann@example.com", name=x),)},
        lambda x: {"in_reply_to": f"<a@b{x}>"},
        lambda x: {"references": ("<a@b>", f"<a@b>{x}")},
        lambda x: {"headers": {"X-A": f"a{x}b"}},
        lambda x: {"headers": {f"X-A{x}": "b"}},
    ],
)
def test_what_could_end_a_header_is_refused(place: Callable[[str], dict[str, object]], unsafe: str) -> None:
    with pytest.raises(InvalidArgument):
        compose_bytes(an_email(**place(unsafe)))


@pytest.mark.parametrize("field", ["body", "html"])
def test_half_a_character_in_a_body_is_refused(field: str) -> None:
    with pytest.raises(InvalidArgument, match="half a character"):
        compose_bytes(an_email(**{field: "x\ud83d"}))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "ann@",
        "@x.example",
        "a@x.example,b@y.example",
        "a@x.example b@y.example",
        "<a@x.example>",
        "a@é.example",
        "a b@x.example",
        '"a"@x.example',
        "a@x.example>",
        "a@x.example;",
        "a..b@x.example",
        "=?utf-8?q?a=2C?=@x.example",
    ],
)
def test_what_is_not_one_ascii_mailbox_is_refused(address: str) -> None:
    with pytest.raises(InvalidAddress):
        compose_bytes(an_email(to=(Mailbox(address=address, name="Ann"),)))


@pytest.mark.parametrize(
    "message_id", ["", "a@b", "<a@b", "<a @b>", "<a@b> <c@d>", "<é@b>", "<=?utf-8?q?=0ABcc=3A?=@x>", "<>"]
)
def test_what_is_not_one_message_id_is_refused(message_id: str) -> None:
    with pytest.raises(InvalidArgument, match="message id looks like"):
        compose_bytes(an_email(in_reply_to=message_id))


@pytest.mark.parametrize(
    "name", ["Bcc", "bcc", "TO", "Content-Type", "Resent-Bcc", "Sender", "X-Priority", "MIME-Version"]
)
def test_a_header_that_outspool_writes_cannot_be_given(name: str) -> None:
    with pytest.raises(InvalidArgument, match="written by outspool"):
        compose_bytes(an_email(headers={name: "x"}))


@pytest.mark.parametrize("name", ["", "X A", "X:A", "Bcc: x", "X-Ä", "X" * 77, "X-A "])
def test_what_is_not_a_header_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="cannot be the name"):
        compose_bytes(an_email(headers={name: "x"}))


@pytest.mark.parametrize(
    "head",
    [
        b"Subject: a\r\nBcc: x\r\n\r\n",
        b"Subject: a\nBcc: x\r\n\r\n",
        b"Subject: a\rBcc: x\r\n\r\n",
        b"\r\nSubject: a\r\n\r\n",
    ],
)
def test_headers_that_nobody_intended_are_noticed(head: bytes) -> None:
    check_names(b"Subject: a\r\n\r\n", ["Subject"])
    with pytest.raises(InvalidArgument, match="read as other headers"):
        check_names(head, ["Subject"])


def test_a_message_id_is_the_emails_own_in_the_senders_domain() -> None:
    sender = Mailbox(address="me@xn--bcher-kva.example", name="Me")
    assert new_message_id(ID, sender) == "<0191e3a27c00700080000123456789ab@xn--bcher-kva.example>"
