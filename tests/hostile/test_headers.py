"""Hostile header names and values: none ends its field, starts another, or is read as something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.front import Front
from support.hostile_inputs import (
    CONTROLS,
    ENCODED_WORDS,
    HEADER_NAMES,
    HEADERS,
    NO_MESSAGE_ID,
    PLAIN_ENCODED_WORDS,
    by_words,
)

from outspool.domain.visible_text import remove_invisible

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDINGS = ["\r\nBcc: eve@example.com", "\nBcc: eve@example.com", "\rBcc: eve@example.com", "\r\n\r\nbody", "\r\n x"]
PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "subject": lambda text: {"subject": f"a{text}b"},
    "headers": lambda text: {"headers": {"X-Own": f"a{text}b"}},
    "to": lambda text: {"to": [f"a{text}b <ann@example.com>"]},
    "cc": lambda text: {"cc": [f'"a{text}b" <bob@example.com>']},
    "bcc": lambda text: {"bcc": [f"a{text}b <bob@example.com>"]},
    "reply_to": lambda text: {"reply_to": [f"a{text}b <me@example.com>"]},
    "from": lambda text: {"from": f"a{text}b <me@example.com>"},
    "in_reply_to": lambda text: {"in_reply_to": f"<a{text}b@example.com>"},
    "references": lambda text: {"references": ["<a@example.com>", f"<b{text}@example.com>"]},
    "tags": lambda text: {"tags": [f"a{text}b"]},
}


async def test_no_control_character_gets_into_a_header(face: Front) -> None:
    await face.refuses(*((make(text), place) for place, make in PLACES.items() for text in [*CONTROLS, *ENDINGS]))


async def test_no_encoded_word_carries_a_control_character_into_a_header(face: Front) -> None:
    await face.refuses(*((make(text), place) for place, make in PLACES.items() for text in ENCODED_WORDS))


async def test_a_header_that_is_not_the_callers_to_write_is_refused(face: Front) -> None:
    members = by_words(HEADER_NAMES)
    await face.refuses(*(({"headers": {name: "eve@example.com"}}, words) for name, words in members))


VALUES: list[tuple[Any, str]] = [
    *HEADERS,
    ({"X-A": 1}, "must be a string"),
    ({"X-A": None}, "must be a string"),
    ({"X-A": ["a", "b"]}, "must be a string"),
    ([["X-A", "1"]], "must be an object"),
    ("X-A: 1\r\nBcc: eve@example.com", "must be an object"),
    ({"List-Unsubscribe": "<javascript:alert(1)>"}, "would not be understood"),
    ({"List-Unsubscribe": "<https://a/?=?utf-8?q?=0A?=>"}, "encoded word"),
    ({"List-Unsubscribe": "https://example.com/leave"}, "would not be understood"),
    ({"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}, "exactly one https URL"),
    ({"List-Id": "no id"}, "would not be understood"),
    ({"Auto-Submitted": "auto-generated, Bcc: eve@example.com"}, "would not be understood"),
    ({"Precedence": "bulk bulk"}, "would not be understood"),
]


async def test_a_value_that_no_header_can_hold_is_refused(face: Front) -> None:
    await face.refuses(*(({"headers": headers}, words) for headers, words in VALUES))


async def test_a_field_that_no_email_can_have_is_refused(face: Front) -> None:
    await face.refuses(
        ({"subject": "a" * 999}, "998 is the most"),
        ({"subject": "é" * 2_000_000}, "998 is the most"),
        ({"subject": 7}, "must be a string"),
        ({"subject": ["a"]}, "must be a string"),
        *(({"in_reply_to": text}, "invalid_argument: in_reply_to") for text in NO_MESSAGE_ID if text),
        ({"references": ["<a@b>"] * 10_001}, "is the most"),
        ({"references": ["<a@b> " * 20_000]}, "is the most"),
        ({"references": ["<a@b> c"]}, "is not one message-id"),
        ({"tags": ["a b"]}, "is not a tag"),
        ({"tags": [f"t{n}" for n in range(11)]}, "10 is the most"),
        ({"priority": "urgent\r\nBcc: eve@example.com"}, "must be one of"),
        ({"idempotency_key": "a\nb"}, "printable ASCII"),
        ({"idempotency_key": "a" * 256}, "1 to 255"),
        ({"Bcc": ["eve@example.com"]}, "unknown argument"),
        ({"x\r\nBcc": "eve@example.com"}, "unknown argument"),
    )


TEXTS = [
    "Bcc: eve@example.com",
    "From: eve@example.com",
    ": ",
    ":",
    " a ",
    "a" + " " * 500 + "b",
    "%0d%0aBcc: eve@example.com",
    "\\r\\nBcc: eve@example.com",
    "&#13;&#10;Bcc: eve@example.com",
    ".",
    "..",
    "QUIT",
    "-- ",
    "=?",
    "?=",
    "a=?b",
    *PLAIN_ENCODED_WORDS,
    "gpj.\u202egnissapmoc\u202c.exe",
    "\u200bz\u200ce\u200dr\ufeffo",
    "e\u0301 \u00e9 \u212b",
    "👩‍👩‍👧 🏳️‍🌈",
    "日本語の件名" * 20,
    "ब्लॉग",
    "\u00a0a\u00a0",
    "\u3000a\u3000",
    '"quoted" \\back\\ (comment) <angle> ; , @',
    "a" * 76,
    "a" * 77,
    "a " * 498 + "a",
    "a" * 997,
    "a" * 998,
    "é" * 998,
    "👍" * 998,
    "\U0010ffff\ufffe",
]


async def test_a_subject_says_what_was_asked_and_nothing_else(face: Front) -> None:
    mails = await face.delivered(*({"subject": text} for text in ["", *TEXTS]))
    for text, mail in zip(["", *TEXTS], mails, strict=True):
        assert mail.parsed["Subject"] == remove_invisible(text)


async def test_a_header_of_the_callers_own_says_what_was_asked_and_nothing_else(face: Front) -> None:
    mails = await face.delivered(*({"headers": {"X-Own": text, "x-other": f"{text[:900]}."}} for text in TEXTS))
    for text, mail in zip(TEXTS, mails, strict=True):
        assert (mail.parsed["X-Own"], mail.parsed["X-Other"]) == (text, f"{text[:900]}.")


async def test_the_most_headers_with_the_longest_names_and_values_arrive(face: Front) -> None:
    headers = {f"X-{n:02}{'-Long' * 14}": f"{n}{'ü' * 990}" for n in range(20)}
    references = [f"<{n}{'a' * 980}@example.com>" for n in range(100)]
    [mail] = await face.delivered({"headers": headers, "references": references, "in_reply_to": references[7]})
    assert {name: mail.parsed[name] for name in headers} == headers
    assert mail.parsed["References"].split() == [*references[:7], *references[8:], references[7]]
    assert mail.parsed["In-Reply-To"].strip() == references[7]


async def test_a_name_given_twice_in_one_object_is_on_the_wire_once(face: Front) -> None:
    [mail] = await face.delivered({"headers": '{"X-Own": "1", "X-Own": "2"}'})
    assert mail.parsed.get_all("X-Own") == ["2"]


async def test_nothing_that_is_for_us_alone_is_on_the_wire(face: Front) -> None:
    [mail] = await face.delivered(
        {
            "bcc": ["Hidden Name <hidden@example.net>"],
            "tags": ["secret-tag"],
            "idempotency_key": "secret-key-1",
            "priority": "high",
        }
    )
    assert "hidden@example.net" in mail.recipients
    for word in (b"hidden", b"Hidden", b"secret-tag", b"secret-key", b"\nBcc", b"\nbcc"):
        assert word not in mail.raw
    assert (mail.parsed["X-Priority"], mail.parsed["Importance"]) == ("1", "high")
