"""One mailbox in, one ASCII address out; anything else is refused with a clear error."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from email.header import decode_header
from email.utils import formataddr, parseaddr

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.hostile_inputs import MAILBOXES, MORE_THAN_ONE_ADDRESS, NO_MAILBOX, by_words

from outspool.domain.address import parse_mailbox, parse_mailboxes
from outspool.domain.email import Mailbox
from outspool.errors import InvalidAddress


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        *((text, name, address) for text, (name, address) in MAILBOXES.items()),
        ("a@b.com", "", "a@b.com"),
        ("\u00a0a@b.com\u00a0", "", "a@b.com"),
        ("Name <a@b.com>", "Name", "a@b.com"),
        ("Name<a@b.com>", "Name", "a@b.com"),
        ("Name  < a@b.com >", "Name", "a@b.com"),
        ("John   Doe <j@x.com>", "John Doe", "j@x.com"),
        ("Doe, John <j@x.com>", "Doe, John", "j@x.com"),
        ('"a\\"b\\\\c" <j@x.com>', 'a"b\\c', "j@x.com"),
        ('"a@b.com; <c@d.com>" <j@x.com>', "a@b.com; <c@d.com>", "j@x.com"),
        ('"" <j@x.com>', "", "j@x.com"),
        ('Joe "Q" Public <j@x.com>', 'Joe "Q" Public', "j@x.com"),
        ("Anna Schmidt (Acme GmbH) <a@x.com>", "Anna Schmidt (Acme GmbH)", "a@x.com"),
        ("Dr. med. Ä. O'Neil <a@x.com>", "Dr. med. Ä. O'Neil", "a@x.com"),
        ("a@example.test", "", "a@example.test"),
        ("'a'@x.com", "", "'a'@x.com"),
        (f"{'a' * 248}@x.com", "", f"{'a' * 248}@x.com"),
        (f"{'N' * 200} <a@x.com>", "N" * 200, "a@x.com"),
    ],
)
def test_a_mailbox_is_read_as_people_write_it(text: str, name: str, address: str) -> None:
    assert parse_mailbox(text, "to") == Mailbox(address=address, name=name)


@pytest.mark.parametrize("text", MORE_THAN_ONE_ADDRESS)
def test_more_than_one_address_in_a_string_asks_for_a_list(text: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        parse_mailbox(text, "cc")
    assert "is not one address" in refusal.value.message or "is more than one address" in refusal.value.message
    assert refusal.value.hint.startswith("Give a list with each address as its own item")


@pytest.mark.parametrize(("text", "why"), by_words(NO_MAILBOX))
def test_what_is_not_one_mailbox_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        parse_mailbox(text, "reply_to")
    sentence = str(refusal.value)
    assert why in sentence
    assert "reply_to" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 300
    assert refusal.value.hint


def test_a_list_is_read_item_by_item() -> None:
    assert parse_mailboxes(["a@x.com", "B <b@x.com>"], "to") == (
        Mailbox(address="a@x.com"),
        Mailbox(address="b@x.com", name="B"),
    )
    assert parse_mailboxes([], "to") == ()
    with pytest.raises(InvalidAddress, match='"nobody" has no @'):
        parse_mailboxes(["a@x.com", "nobody"], "to")


def test_a_single_string_is_one_item_not_many_letters() -> None:
    assert parse_mailboxes("a@x.com", "to") == (Mailbox(address="a@x.com"),)


_LOCAL = st.from_regex(r"[A-Za-z0-9_+=-]{1,10}(\.[a-z0-9]{1,5})?", fullmatch=True)
_DOMAIN = st.sampled_from(["x.com", "Sub.Example.ORG", "münchen.de", "例え.jp", "mail.test"])
_NAME = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30)


def _read(name: str) -> str:
    return "".join(
        part if isinstance(part, str) else part.decode(charset or "ascii") for part, charset in decode_header(name)
    )


@given(name=_NAME, local=_LOCAL, domain=_DOMAIN)
def test_a_mailbox_survives_being_written_and_read_again(name: str, local: str, domain: str) -> None:
    assume("=?" not in name)
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    mailbox = parse_mailbox(f'"{quoted}" <{local}@{domain}>', "to")
    assert mailbox.name == re.sub(" +", " ", unicodedata.normalize("NFC", name)).strip()
    written = formataddr((mailbox.name, mailbox.address))
    again, address = parseaddr(written)
    assert (_read(again), address) == (mailbox.name, mailbox.address)
    reread = parse_mailbox(written, "to")
    assert (_read(reread.name), reread.address) == (mailbox.name, mailbox.address)


_FRAGMENTS = st.sampled_from(
    [
        "a@x.com",
        "@",
        "<",
        ">",
        '"',
        ",",
        ";",
        ":",
        " ",
        "(",
        ")",
        "[",
        "]",
        "\\",
        "é",
        "x.com",
        "a",
        "\r\n",
        "=?utf-8?q?=0A?=",
        "%",
        "SIZE=1",
        "xn--",
    ]
)


@given(st.lists(st.one_of(_FRAGMENTS, st.text(max_size=3)), max_size=8).map("".join))
def test_whatever_is_accepted_is_one_plain_address(text: str) -> None:
    try:
        mailbox = parse_mailbox(text, "to")
    except InvalidAddress as refusal:
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 300
        return
    assert mailbox.address.isascii()
    assert mailbox.address.isprintable()
    assert not set(mailbox.address) & set(' <>()[],;:"\\')
    assert mailbox.address.count("@") == 1
    assert parse_mailbox(mailbox.address, "to").address == mailbox.address
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in mailbox.name)


def test_the_validator_is_not_imported_before_the_first_address() -> None:
    program = "import sys, outspool.services.acceptance.validation; sys.exit('email_validator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
