"""Random emails: each is refused with a sentence, or a parser reads from the wire exactly what was requested.

`FUZZ_EXAMPLES` runs more and different ones each time; without it every run has the same ones.
"""

from __future__ import annotations

import asyncio
import os
import re
import unicodedata
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from support.composing import mailboxes_in, text_of
from support.front import Accepted, Front
from support.smtp_sink import Received

from outspool.domain.visible_text import remove_invisible

pytestmark = pytest.mark.asyncio(loop_scope="session")

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "24"))
EMAILS = 6
"""In one example, and so in one delivery."""

HIDDEN = "hidden.example"
"""Where every blind copy goes, and the beginning of every tag; both are nowhere on the wire."""

ATTACK = "=?utf-8?q?x=0D=0ABcc=3Aeve=40example.com?="
BREAKS = ["\r\n", "\n", "\r", "\0", "\x85", "\u2028", "\ud800", "\x1b", ATTACK, "\r\nBcc: eve@example.com", "\r\n\r\n"]
PIECES = [
    *(
        "=?",
        "?=",
        "=?utf-8?q?a?=",
        "=?utf-8?b?YQ==?=",
        "=0D=0A",
        "%0d%0a",
        "\\r\\n",
        "  ",
        " ",
        '"',
        "\\",
        ",",
        ";",
        ":",
    ),
    *("(", ")", "<", ">", "[", "]", ".", "..", "_", "=", "?", "@", "x" * 80, "ü" * 40, "😀" * 20, "e\u0301", "שלום"),
    *(
        "\u202e",
        "\u200d",
        "\ufeff",
        "\u00a0",
        "\u3000",
        "\U0010ffff",
        "a.b",
        "Bcc: eve@example.com",
        "--=_mixed_",
        "From ",
    ),
]
CLEAN = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
LINE = st.lists(st.sampled_from(PIECES) | st.text(CLEAN, max_size=8), max_size=8).map("".join)
BODY = st.lists(
    st.sampled_from(
        [*PIECES, "\r\n", "\n", "\r", "\r\n.\r\n", "\n.\n", ".", "\t", " \n", "x" * 999, "é" * 200, "\u2028"]
    )
    | st.text(CLEAN, max_size=20),
    max_size=12,
).map("".join)

LABEL = st.text("abcxyz019", min_size=1, max_size=12)
DOMAIN = st.sampled_from(["x.example.com", "Sub.Example.ORG", "münchen.de", "xn--mnchen-3ya.de", "例え.jp", "o.test"])
LOCAL = st.from_regex(r"[A-Za-z0-9_+=&'*-]{1,20}(\.[a-z0-9]{1,5})?", fullmatch=True)
MESSAGE_ID = st.builds("<{}@{}>".format, st.text("abc.+$-_=/%", min_size=1, max_size=250), LABEL)


@dataclass(frozen=True)
class Person:
    """A name and an address, and how a caller writes them."""

    name: str
    local: str
    domain: str
    is_quoted: bool = True

    @property
    def written(self) -> str:
        """What the caller writes."""
        address = f"{self.local}@{self.domain}"
        if not self.name:
            return address
        quoted = re.sub(r'([\\"])', r"\\\1", self.name)
        return f'"{quoted}" <{address}>' if self.is_quoted else f"{self.name} <{address}>"

    @property
    def read(self) -> tuple[str, str]:
        """What a stranger reads: the name in NFC, spaces in a row as one; the domain in lower-case ASCII."""
        name = re.sub(" +", " ", unicodedata.normalize("NFC", self.name)).strip()
        domain = ".".join(label.encode("idna").decode() for label in self.domain.lower().split("."))
        return name, f"{self.local}@{domain}"


def people(domain: st.SearchStrategy[str] = DOMAIN, *, least: int = 0) -> st.SearchStrategy[list[Person]]:
    plain = st.builds(Person, st.text("abc Ü", max_size=9).map(str.strip), LOCAL, domain, st.booleans())
    return st.lists(
        plain | st.builds(Person, LINE.filter(lambda name: len(name) <= 200), LOCAL, domain), min_size=least, max_size=3
    )


NAME_PIECES = ["a", "b c", "%20", "%", "'", ";", "=", "*0*", '"q"', "ß", "日本" * 9, "x" * 50, ".txt", ".tar.gz"]
FILENAME = st.one_of(
    st.lists(st.sampled_from(NAME_PIECES), max_size=4).map(lambda pieces: f"{''.join(pieces)}0"),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "Sm", "Sc")), min_size=1, max_size=20),
)
FILE = st.fixed_dictionaries(
    {"filename": FILENAME},
    optional={
        "content_type": st.sampled_from(["text/csv", "IMAGE/PNG", "application/x-a.b+c", "text/plain; charset=Latin1"]),
        "content_id": st.sampled_from(["logo", "a.b@c", "x=1"]),
    },
)
FILES = st.lists(
    st.tuples(FILE, st.binary(max_size=200).map(lambda raw: ("content", raw)) | BODY.map(lambda text: ("text", text))),
    max_size=3,
)
LISTED: list[dict[str, str]] = [
    {},
    {
        "List-Unsubscribe": "<https://example.com/leave?id=1&x=%3D?>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
    {"List-Unsubscribe": "<mailto:leave@example.com?subject=x>,<https://example.com/" + "a" * 300 + ">"},
    {"List-Id": "Weekly news <weekly.example.com>", "Precedence": "bulk", "Auto-Submitted": "auto-generated"},
]
EMAIL = st.fixed_dictionaries(
    {
        "to": people(least=1),
        "cc": people(),
        "bcc": people(st.just(HIDDEN)),
        "reply_to": people(),
        "subject": LINE,
        "body": st.none() | BODY,
        "html": st.none() | BODY.map('<p>x{}<img src="cid:logo">'.format),
        "in_reply_to": st.none() | MESSAGE_ID,
        "references": st.lists(MESSAGE_ID, max_size=4),
        "headers": st.dictionaries(LABEL.map("X-{}".format), LINE.map("v{}".format), max_size=3),
        "listed": st.sampled_from(LISTED),
        "priority": st.sampled_from(["low", "normal", "high"]),
        "tags": st.lists(LABEL.map(f"{HIDDEN}-{{}}".format), max_size=3),
        "attachments": FILES,
    }
)
SPOILT = st.lists(st.sampled_from(BREAKS) | LINE, min_size=1, max_size=3).map("".join)
PLACES = [
    "to",
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "body",
    "html",
    "in_reply_to",
    "references",
    "headers",
    "name",
    "tags",
]
"""Where something may stand that no email can hold."""

FILE_PLACES = ["filename", "content_type", "content_id", "content", "text", "path", "blob"]
SPOILING = st.tuples(st.sampled_from(PLACES + FILE_PLACES), SPOILT)


def written(asked: Mapping[str, Any], spoilt: tuple[str, str] | None) -> dict[str, Any]:
    """Return the arguments that ask for this email, one of them spoilt."""
    given_: dict[str, Any] = {
        name: [person.written for person in asked[name]] for name in ("to", "cc", "bcc", "reply_to")
    }
    files = [
        {**said, kind: b64encode(content).decode() if kind == "content" else content}
        for said, (kind, content) in asked["attachments"]
    ]
    given_ |= {
        name: asked[name] for name in ("subject", "body", "html", "in_reply_to", "references", "priority", "tags")
    }
    given_ |= {"headers": asked["headers"] | asked["listed"], "attachments": files}
    if spoilt is not None:
        place, text = spoilt
        if place in FILE_PLACES:
            given_["attachments"] = [{**(files[0] if files else {"filename": "a"}), place: text}]
        elif place in ("headers", "name"):
            given_["headers"] = {"X-Own": text} if place == "headers" else {text: "x"}
        else:
            given_[place] = [text] if isinstance(given_[place], list) else text
    return {name: value for name, value in given_.items() if value is not None}


@settings(
    max_examples=EXAMPLES,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(
    st.lists(st.tuples(EMAIL, st.none() | st.tuples(st.sampled_from(PLACES + FILE_PLACES), SPOILT)), min_size=EMAILS)
)
@pytest.mark.long
async def test_what_is_read_from_the_wire_is_what_was_asked_or_it_is_refused(
    face: Front, emails: list[tuple[dict[str, Any], tuple[str, str] | None]]
) -> None:
    answers = await asyncio.gather(*(face.attempt(**written(asked, spoilt)) for asked, spoilt in emails))
    kept = [(asked, spoilt, answer) for (asked, spoilt), answer in zip(emails, answers, strict=True)]
    sent = [(asked, spoilt, answer) for asked, spoilt, answer in kept if isinstance(answer, Accepted)]
    mails = await face.arrivals([answer for _, _, answer in sent])
    for (asked, spoilt, _), mail in zip(sent, mails, strict=True):
        event("arrived" if spoilt is None else "arrived though odd")
        if spoilt is None:
            check(asked, mail)
    for asked, spoilt, answer in kept:
        if spoilt is None and isinstance(answer, str):
            event("refused")
            assert may_be_refused(asked, answer), (asked, answer)


def may_be_refused(asked: Mapping[str, Any], said: str) -> bool:
    """Whether an email of which nothing was spoilt may be refused with this sentence."""
    empty = asked["html"] is None and not (asked["body"] or "").strip()
    odd = (
        "encoded word" in said or "headers: " in said or said.startswith(("invalid_address: ", "attachment_refused: "))
    )
    return odd or (empty and ("neither" in said or "is empty" in said))


def check(asked: Mapping[str, Any], mail: Received) -> None:
    """Assert that a stranger reads what was asked; `Front.arrivals` has looked at the octets."""
    kinds = addressed(asked)
    assert sorted(mail.recipients) == sorted(address for kind in kinds.values() for _, address in kind)
    assert HIDDEN.encode() not in mail.raw
    for field, expected in (("To", kinds["to"]), ("Cc", kinds["cc"]), ("Reply-To", unique(asked["reply_to"], set()))):
        if expected:
            assert mailboxes_in(mail.raw, field) == expected
            assert [read.addr_spec for read in mail.parsed[field].addresses] == [address for _, address in expected]
    check_fields(asked, mail.parsed)
    if asked["body"]:
        assert text_of(mail.parsed, "plain") == lf(asked["body"])
    if asked["html"]:
        assert text_of(mail.parsed, "html") == lf(asked["html"])
    check_files(asked, mail.parsed)


def check_fields(asked: Mapping[str, Any], message: EmailMessage) -> None:
    assert message["Subject"] == remove_invisible(asked["subject"])
    for name, value in asked["headers"].items():
        assert message[name] == value
    for name, value in asked["listed"].items():
        assert message[name].replace(" ", "") == value.replace(" ", "")
    parent = asked["in_reply_to"] or next(reversed(asked["references"]), None)
    earlier = [each for each in asked["references"] if each != parent]
    assert (message["In-Reply-To"] or "").split() == [parent] * (parent is not None)
    assert (message["References"] or "").split() == [*earlier, *[parent] * (parent is not None)]
    assert message["X-Priority"] == {"high": "1", "normal": None, "low": "5"}[asked["priority"]]


def check_files(asked: Mapping[str, Any], message: EmailMessage) -> None:
    parts = [part for part in message.walk() if part.get_filename() is not None]
    arrived = Counter((p.get_filename(), p["Content-ID"], p.get_payload(decode=True)) for p in parts)
    expected = Counter(
        (said["filename"], f"<{said['content_id']}>" if "content_id" in said else None, octets(content))
        for said, (_, content) in asked["attachments"]
    )
    assert arrived == expected
    for said, (kind, _) in asked["attachments"]:
        types = [part.get_content_type() for part in parts if part.get_filename() == said["filename"]]
        if "content_type" in said:
            assert said["content_type"].partition(";")[0].lower() in types
        elif kind == "text":
            assert "application/octet-stream" not in types or len(types) > 1
    shown = [part["Content-ID"] for part in parts if part.get_content_disposition() == "inline"]
    has_logo = any(said.get("content_id") == "logo" for said, _ in asked["attachments"])
    assert shown == ["<logo>"] * bool(asked["html"] and has_logo)


def octets(content: str | bytes) -> bytes:
    """Return what arrives of a file: a text in UTF-8, its line ends as they were."""
    return content.encode() if isinstance(content, str) else content


def addressed(asked: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Return whom the email goes to, each address once, where it first stands."""
    seen: set[str] = set()
    return {kind: unique(asked[kind], seen) for kind in ("to", "cc", "bcc")}


def unique(persons: list[Person], seen: set[str]) -> list[tuple[str, str]]:
    kept = []
    for person in persons:
        name, address = person.read
        if address.lower() not in seen:
            seen.add(address.lower())
            kept.append((name, address))
    return kept


def lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
