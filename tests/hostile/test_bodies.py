"""Hostile bodies: the text is preserved, and nothing in it ends the message or starts another."""

from __future__ import annotations

from typing import Any

import pytest
from support.composing import text_of
from support.front import Front

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOT_IN_A_BODY = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)] if chr(code) not in "\t\n\r"]
HALVES = ["\ud800", "\udbff", "\udc00", "\udfff", "\udc00\ud800", "ok \ud83d", "\ud83d" * 1000]

SECOND = "MAIL FROM:<eve@example.com>\r\nRCPT TO:<mallory@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhi\r\n.\r\n"
ENDS = ["\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\n\r.\r\n", ".\n.\n.\n"]
TEXTS = [
    *(f"before{end}{SECOND}after" for end in ENDS),
    ".",
    "..",
    ".\n",
    ".\r\n",
    "...\n.hidden\n..\n",
    "a\rb",
    "a\nb",
    "a\r\nb",
    "a\n\rb",
    "\r\r\r",
    "\n\n\n",
    "\r\n" * 100,
    "no line end",
    "one line end\n",
    "two\n\n",
    " leading and trailing \n\t tab \t\n \n",
    "From nobody Thu Jan  1 00:00:00 1970\nFrom here on\n>From there\n",
    "Bcc: eve@example.com\nSubject: other\n\nbody",
    "--=_alternative_\n--=_mixed_00--\n--=_\n--\n-- \n---\n",
    "=0D=0ABcc: eve@example.com\n=\n=20\n=3D\n",
    "=?utf-8?q?=0D=0A?=\n",
    "begin 644 a.txt\n`\nend\n",
    "+AA0ACg-",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f",
    "\u2028\u2029\ufeff\u200b\u00ad\ufffe\uffff\U0010ffff",
    "e\u0301 \u00e9 \u212b",
    "日本語" * 1000,
    "👩‍👩‍👧" * 500,
    "x" * 76,
    "x" * 77,
    "x" * 998,
    "x" * 999,
    "x" * 100_000,
    "é" * 100_000,
    "a b " * 50_000,
    "\n".join("." * n for n in range(200)),
    "\n".join(" " * n for n in range(200)),
    "\n".join("é" * n for n in range(100)),
]


def lf(text: str) -> str:
    """Return `text` with LF for every line end, which alone may change."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def test_a_character_that_mail_cannot_carry_is_refused(face: Front) -> None:
    for field in ("body", "html"):
        await face.refuses(
            *(
                ({field: f"ok{char}"}, f"{field} holds the control character U+{ord(char):04X}")
                for char in NOT_IN_A_BODY
            ),
            *(({field: text}, f"{field} holds half a character") for text in HALVES),
            ({field: 7}, "must be a string"),
            ({field: ["a"]}, "must be a string"),
            ({field: {"text": "a"}}, "must be a string"),
        )


async def test_too_much_and_nothing_are_refused(face: Front) -> None:
    size = face.app.rules.policy.max_message_bytes
    await face.refuses(
        ({"body": "x" * (size + 1)}, "too_large: "),
        ({"body": "é" * (size // 2 + 1)}, "too_large: "),
        ({"html": "<p>" * (size // 3 + 1)}, "too_large: "),
        ({"body": "x" * (size // 2), "html": "y" * (size // 2 + 1)}, "too_large: "),
        ({"body": "é" * int(size / 2.5)}, "too_large: The message would be"),  # small enough, but not as base64
        ({"body": None}, "neither body nor html"),
        ({"body": "", "subject": ""}, "is empty"),
        ({"body": " \n ", "subject": " ", "html": "\t"}, "is empty"),
    )


async def test_a_text_arrives_whole_and_is_one_message(face: Front) -> None:
    mails = await face.delivered(*({"body": text} for text in TEXTS))
    for text, mail in zip(TEXTS, mails, strict=True):
        assert mail.recipients == ("ann@example.com",)
        assert mail.parsed.get_content_type() == "text/plain"
        assert text_of(mail.parsed, "plain") == lf(text)


async def test_html_arrives_whole_beside_a_text_that_does_too(face: Front) -> None:
    mails = await face.delivered(*({"body": text[::-1], "html": text} for text in TEXTS))
    for text, mail in zip(TEXTS, mails, strict=True):
        assert [part.get_content_type() for part in mail.parsed.iter_parts()] == ["text/plain", "text/html"]
        assert text_of(mail.parsed, "html") == lf(text)
        assert text_of(mail.parsed, "plain") == lf(text[::-1])


HTML: list[str] = [
    "<p>unclosed <b><i>" * 200,
    "<div>" * 5_000,
    "<table>" * 500 + "<tr><td>x",
    "<td colspan=99999999>x</td>",
    "<!--" * 1000,
    "<script>alert(1)</script><p onclick='x'>hi</p>",
    "<img src='data:image/png;base64," + "A" * 100_000 + "'>",
    "&#0;&#13;&#10;.&#10;&#xD800;&#x110000;&amp;" * 50,
    "<" * 50_000,
    "&" * 50_000,
    "<a href='javascript:x'>link</a><a href='http://x'>http://y</a>",
    "<p>\u202ehidden</p><p style='display:none'>secret</p>",
    "<![CDATA[ x ]]><?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]>&a;",
    "\ufeff<html><body>hi</body></html>",
    "<base href='http://evil'><meta http-equiv=refresh content='0;url=http://evil'>",
]


async def test_html_of_any_kind_gets_a_text_or_none_and_arrives_as_it_is(face: Front) -> None:
    mails = await face.delivered(*({"body": None, "html": markup} for markup in HTML))
    for markup, mail in zip(HTML, mails, strict=True):
        assert text_of(mail.parsed, "html") == lf(markup)


@pytest.mark.parametrize("tool", ["send_email", "schedule_email", "update_email"])
async def test_whichever_tool_is_given_a_bad_body_refuses_it(face: Front, tool: str) -> None:
    plain: dict[str, Any] = {"to": ["ann@example.com"], "subject": "Later", "body": "Hi", "delay": "P300D"}
    waiting = await face.attempt("schedule_email", **plain)
    assert not isinstance(waiting, str)
    before = await face.app.outbox.get(waiting.id)
    rest = {"send_email": {}, "schedule_email": plain, "update_email": {"email_id": waiting.id}}[tool]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"body": "a\0b"}, "U+0000"),
        ({"html": "a\ud800b"}, "half a character"),
        ({"subject": "a\r\nBcc: eve@example.com"}, "line break"),
        ({"to": ["a@x.com, b@x.com"]}, "not one address"),
        ({"headers": {"Bcc": "eve@example.com"}}, "cannot be set"),
        ({"attachments": [{"path": "/etc/passwd"}]}, "not in a folder"),
        ({"attachments": [{"filename": "a\r\nb", "text": "x"}]}, "does not show"),
    ]
    await face.refuses(*((rest | arguments, words) for arguments, words in bad), tool=tool)
    assert await face.app.outbox.get(waiting.id) == before
