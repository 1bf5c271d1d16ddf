"""Sender names cannot impersonate others, and with an allowlist no answer leads outside of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.front import Front, front
from support.smtp_sink import SmtpSink

from outspool.domain.provider_headers import NAMES, PREFIXES

pytestmark = pytest.mark.asyncio(loop_scope="session")

ME = "me@example.com"
ALLOWED = "@example.com, bob@partner.example"
NO = "does not allow"


@pytest_asyncio.fixture(loop_scope="session")
async def strict(tmp_path: Path) -> AsyncIterator[Front]:
    """Return the tools of an outspool with an allowlist, whose operator lets receipts be asked for."""
    (tmp_path / "smtp").mkdir()
    with SmtpSink(tmp_path / "smtp") as sink:
        variables = {
            "EMAIL_ALLOWED_RECIPIENTS": ALLOWED,
            "EMAIL_ALLOWED_HEADERS": "Disposition-Notification-To, X-Confirm-Reading-To, X-PM-Metadata-Order",
        }
        async with front(tmp_path / "data", sink, f"sqlite:///{tmp_path / 'outspool.db'}", **variables) as face:
            yield face


NAMES_OF_OTHERS = {
    "holds an @": ["CEO ceo@bank.example", "ceo\uff20bank.example", "ceo\ufe6bbank.example", "a@b", "@"],
    "encoded word": ["=?utf-8?q?ceo=40bank.example?=", "CEO =?utf-8?q?x?="],
    "invisible": [
        "Ad\u200bmin",
        "\u202eecO",
        "CEO\U000e0041",
        "Ad\u200dmin",
        "\u2067CEO",
        "C\u00adEO",
        "CEO\u3164",
        "\ufeffCEO",
    ],
}


async def test_a_senders_name_is_no_address_and_hides_nothing(face: Front) -> None:
    await face.refuses(
        *(({"from": f'"{name}" <{ME}>'}, words) for words, names in NAMES_OF_OTHERS.items() for name in names),
        ({"from": f'"CEO <ceo@bank.example>" <{ME}>'}, "holds an @"),
    )


async def test_a_senders_name_may_be_in_any_script(face: Front) -> None:
    names = ["Ada Lovelace", "علی‌رضا", "दीपा क्‍ष", "山田 太郎", "Team 👩‍👩‍👧", "O'Neil, Jr."]
    mails = await face.delivered(*({"from": f'"{name}" <{ME}>'} for name in names))
    assert [mail.parsed["From"].addresses[0].display_name for mail in mails] == names


SUBJECTS = {
    "Invoice \u202egpj.exe": "Invoice gpj.exe",
    "Pay\u200bPal": "PayPal",
    "\u2066Hi\u2069": "Hi",
    "Hi\U000e0041\U000e0042": "Hi",
    "Party 👩‍👩‍👧 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿": "Party 👩‍👩‍👧 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "שלום עולם\u200f!": "שלום עולם\u200f!",
    "سلام علی‌رضا": "سلام علی‌رضا",
}


async def test_a_subject_keeps_its_script_and_emoji_and_loses_what_turns_it(face: Front) -> None:
    mails = await face.delivered(*({"subject": subject} for subject in SUBJECTS))
    assert [mail.parsed["Subject"] for mail in mails] == list(SUBJECTS.values())


def unsubscribe(*uris: str) -> dict[str, Any]:
    return {"headers": {"List-Unsubscribe": ", ".join(f"<{uri}>" for uri in uris)}}


async def test_answers_obey_the_allowlist(strict: Front) -> None:
    await strict.refuses(
        ({"reply_to": ["eve@evil.example"]}, NO),
        ({"reply_to": ["ann@example.com", "Eve <eve@sub.example.com>"]}, NO),
        (unsubscribe("mailto:eve@evil.example"), NO),
        (unsubscribe("mailto:%65ve@evil.example"), NO),
        (unsubscribe("mailto:ann@example.com,eve@evil.example"), NO),
        (unsubscribe("mailto:ann@example.com?bcc=eve@evil.example"), NO),
        (unsubscribe("mailto:ann@example.com?subject=x&CC=eve%40evil.example"), NO),
        (unsubscribe("mailto:?to=eve@evil.example"), NO),
        (unsubscribe("https://evil.example/u"), NO),
        (unsubscribe("https://example.com.evil.example/u"), NO),
        (unsubscribe("https://evilexample.com/u"), NO),
        (unsubscribe("https://example.com@evil.example/u"), "no plain web address"),
        (unsubscribe("https://evil.example\\.example.com/u"), "no plain web address"),
        (unsubscribe("https://example.com/u", "mailto:eve@evil.example"), NO),
        ({"headers": {"Disposition-Notification-To": "eve@evil.example"}}, NO),
        ({"headers": {"disposition-notification-to": "ann@example.com, eve@evil.example"}}, NO),
        ({"headers": {"X-Confirm-Reading-To": "Eve <eve@evil.example>"}}, NO),
        ({"headers": {"X-Confirm-Reading-To": "nobody"}}, "invalid_address"),
    )


async def test_answers_to_those_who_are_allowed_pass(strict: Front) -> None:
    mails = await strict.delivered(
        {"reply_to": [ME]},
        {"reply_to": ["bob@partner.example", "ann@example.com"]},
        unsubscribe("mailto:leave@example.com?subject=leave", "https://news.example.com/leave?id=1"),
        {"headers": {"Disposition-Notification-To": ME, "X-PM-Metadata-Order": "7"}},
    )
    assert mails[3].parsed["Disposition-Notification-To"] == ME


async def test_a_change_cannot_lead_answers_out_of_the_allowlist(strict: Front) -> None:
    due = {"to": ["ann@example.com"], "subject": "s", "body": "b", "delay": "P1D"}
    scheduled = (await strict.call("schedule_email", due)).structured_content
    assert scheduled is not None
    for change in ({"reply_to": ["eve@evil.example"]}, unsubscribe("https://evil.example/u")):
        said = await strict.attempt("update_email", email_id=scheduled["id"], **change)
        assert isinstance(said, str)
        assert NO in said


async def test_without_an_allowlist_answers_go_where_the_caller_says(face: Front) -> None:
    await face.delivered({"reply_to": ["eve@evil.example"]}, unsubscribe("https://evil.example/u"))


MORE = [
    "X-MSYS-API",
    "x-ses-configuration-set",
    "X-Mailgun-Recipient-Variables",
    "X-PM-Message-Stream",
    "X-MJ-TemplateID",
]
VARIANTS = [
    "X-Mailin-Custom",
    "X-Virtual-MTA",
    "X-xsMailingId",
    "X-Mc-BccAddress",
    "X-Postal-Tag",
    "X-MS-Exchange-Organization-SCL",
]


async def test_headers_that_providers_act_on_are_refused(face: Front) -> None:
    names = [
        *MORE,
        *VARIANTS,
        *(f"{prefix.title()}Test" for prefix in PREFIXES),
        *NAMES,
        *(name.upper() for name in NAMES),
    ]
    await face.refuses(*(({"headers": {name: "eve@example.com"}}, "orders to mail relays") for name in names))


async def test_labels_and_headers_of_ones_own_pass(face: Front) -> None:
    names = [
        "X-PM-Tag",
        "X-Mailgun-Tag",
        "x-ses-message-tags",
        "X-Session-Id",
        "X-Project",
        "X-Entity-Ref-ID",
        "X-Auto-Response-Suppress",
    ]
    [mail] = await face.delivered({"headers": dict.fromkeys(names, "welcome")})
    assert [mail.parsed[name] for name in names] == ["welcome"] * len(names)


async def test_an_operator_allows_whole_names_alone(strict: Front) -> None:
    await strict.refuses(
        ({"headers": {"X-PM-Metadata-Other": "1"}}, "orders to mail relays"),
        ({"headers": {"X-PM-Tag": "1"}}, "orders to mail relays"),
        ({"headers": {"Return-Receipt-To": ME}}, "cannot be set here"),
    )
