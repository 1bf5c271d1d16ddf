"""Hostile addresses: each is one mailbox, and the envelope has exactly the requested ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.composing import mailboxes_in
from support.front import Front, front, message
from support.hostile_inputs import CYRILLIC_A, MAILBOXES, MORE_THAN_ONE_ADDRESS, NO_MAILBOX, by_words
from support.smtp_sink import SmtpSink

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_is_not_one_mailbox_is_refused(face: Front) -> None:
    members = [*((text, "one address") for text in MORE_THAN_ONE_ADDRESS), *by_words(NO_MAILBOX)]
    for field in ("to", "cc", "bcc", "reply_to"):
        await face.refuses(*(({field: ["ok@example.com", address]}, words) for address, words in members))
    await face.refuses(*(({"from": address}, words) for address, words in members if address))


async def test_what_is_no_list_of_addresses_is_refused(face: Front) -> None:
    await face.refuses(
        ({"to": []}, "no recipient"),
        ({"to": ""}, "to is required"),
        ({"to": "Doe, John <a@x.com>, b@x.com"}, "more than one address"),
        ({"to": "a@x.com\nBcc: e@x.com"}, "has a space"),
        ({"to": "['a@x.com', 7]"}, "not one address"),
        ({"to": ["a@x.com", 7]}, "must be a string"),
        ({"to": ["a@x.com", None]}, "must be a string"),
        ({"to": {"email": "a@x.com", "type": "bcc"}}, "must be a string"),
        ({"to": [{"email": "a@x.com", "address": "b@x.com"}]}, "must be a string"),
        ({"to": [{"email": "a@x.com, b@x.com"}]}, "not one address"),
        ({"to": [{"email": "a@x.com", "name": "A\r\nBcc: e@x.com"}]}, "line break"),
        ({"to": ["a@x.com", ["b@x.com"]]}, "must be a string"),
        ({"to": [f"a{n}@x.com" for n in range(1001)]}, "is the most"),
        ({"to": ["a@x.com"] * 100_000}, "is the most"),
        ({"bcc": [f"a{n}@x.com" for n in range(1001)]}, "is the most"),
        ({"from": "eve@example.com"}, "from"),
        ({"from": "me@example.com, eve@example.com"}, "not one address"),
        ({"from": ["me@example.com"]}, "must be a string"),
    )


WRAPPED: dict[str, Any] = {
    "ada@example.com": [
        *("mailto:ada@example.com", "<mailto:ada@example.com>", "[ada@example.com](mailto:ada@example.com)"),
        *("'ada@example.com'", '"ada@example.com"', "`ada@example.com`", "\u201cada@example.com\u201d"),
        *("\u200bada@example.com\ufeff", "\u202aada@example.com\u202c", "<\u200bada@example.com>"),
        *({"email": "ada@example.com"}, {"address": "ada@example.com", "name": None}),
    ],
    "Ada L <ada@example.com>": [
        *("[Ada L](mailto:ada@example.com)", "'Ada L <ada@example.com>'", "Ada L <mailto:ada@example.com>"),
        *(
            {"email": "ada@example.com", "name": "Ada L"},
            {"emailAddress": {"address": "ada@example.com", "name": "Ada L"}},
        ),
    ],
}


async def test_what_programs_put_around_an_address_is_taken_off(face: Front) -> None:
    written = [(shown, item) for shown, items in WRAPPED.items() for item in items]
    mails = await face.delivered(*({"to": [item]} for _, item in written))
    assert [(mail.parsed["To"], mail.recipients) for mail in mails] == [(s, ("ada@example.com",)) for s, _ in written]


async def test_several_addresses_in_one_text_are_a_list_where_no_comma_is_of_a_name(face: Front) -> None:
    both = ("ann@example.com", "bob@example.com")
    texts = [
        *("ann@example.com, bob@example.com", "ann@example.com;bob@example.com", "ann@example.com\nbob@example.com\n"),
        *("['ann@example.com', 'bob@example.com']", "('ann@example.com', 'bob@example.com',)"),
        *("Ex, Ann <ann@example.com>; Ex, Bob <bob@example.com>", "ann@example.com, bob@example.com,"),
        *('["ann@example.com", "bob@example.com"]', 'Ann <ann@example.com>, "B, ob" <bob@example.com>'),
    ]
    for mail in await face.delivered(*({"to": text} for text in texts)):
        assert mail.recipients == both


async def test_what_hides_around_a_denied_address_does_not_hide_it(face: Front, tmp_path: Path) -> None:
    denied = {"EMAIL_DENIED_RECIPIENTS": "ada@example.com,abc.@docomo.ne.jp"}
    async with front(tmp_path, face.sink, "", **denied) as strict:
        for item in (
            *(item for items in WRAPPED.values() for item in items),
            "Abc.@docomo.ne.jp",
            '"abc."@DOCOMO.ne.jp',
        ):
            assert "does not allow mail to" in str(await strict.attempt(to=[item]))


async def test_an_internal_domain_is_for_the_operator_to_name(face: Front, tmp_path: Path) -> None:
    for address in ("bob@corp.local", "bob@localhost", "bob@printer", "bob@nas.home.arpa"):
        said = str(await face.attempt(to=[address]))
        assert f"@{address.partition('@')[2]} in " in said
    named = {"EMAIL_ALLOWED_RECIPIENTS": "@corp.local,bob@localhost,@printer,@nas.home.arpa"}
    (tmp_path / "smtp").mkdir()
    with SmtpSink(tmp_path / "smtp") as sink:
        await _reach_internal_domains(tmp_path, sink, named)


async def _reach_internal_domains(folder: Path, sink: SmtpSink, named: dict[str, str]) -> None:
    async with front(folder / "data", sink, "", **named) as inside:
        for address in ("bob@CORP.local", "Bob <bob@localhost>", "bob@printer", "bob@nas.home.arpa"):
            [mail] = await inside.delivered({"to": [address], "reply_to": [address]})
            assert mail.recipients == (address.removeprefix("Bob <").removesuffix(">").replace("CORP", "corp"),)
        assert "invalid_address" in str(await inside.attempt(to=["bob@other.local"]))
        assert "recipient_refused" in str(await inside.attempt(to=["eve@localhost"]))


async def test_each_mailbox_arrives_as_it_was_meant_in_the_envelope_and_in_the_header(face: Front) -> None:
    mails = await face.delivered(
        *({"to": [written], "cc": ["Cc <cc@example.com>"], "reply_to": [written]} for written in MAILBOXES),
        {"to": [*MAILBOXES], "bcc": ["hidden@example.net"]},
        {"to": [], "cc": [*MAILBOXES]},
        {"to": [], "bcc": [*MAILBOXES]},
    )
    for mail, (name, address) in zip(mails, MAILBOXES.values(), strict=False):
        assert mail.recipients == (address, "cc@example.com")
        for field in ("To", "Reply-To"):
            assert mailboxes_in(mail.raw, field) == [(name, address)]
            assert [read.addr_spec for read in mail.parsed[field].addresses] == [address]
    *_, everybody, copies, unseen = mails
    everyone = list({address: (name, address) for name, address in reversed(MAILBOXES.values())}.values())[::-1]
    assert everybody.recipients == (*(address for _, address in everyone), "hidden@example.net")
    assert mailboxes_in(everybody.raw, "To") == mailboxes_in(copies.raw, "Cc") == everyone
    assert unseen.recipients == tuple(address for _, address in everyone)
    assert unseen.parsed["To"] == "undisclosed-recipients:;"
    told = unseen.raw.replace(str(unseen.message_id).encode(), b"")
    assert not any(address.encode() in told for _, address in everyone)


async def test_an_address_given_many_times_is_served_once_and_never_hidden_from_itself(face: Front) -> None:
    [mail] = await face.delivered(
        {
            "to": ["Ann@Example.com", "ann@example.COM"],
            "cc": ["ANN@example.com", "bob@example.com"],
            "bcc": ["bob@EXAMPLE.com", "eve@münchen.de", "eve@xn--mnchen-3ya.de"],
        }
    )
    assert mail.recipients == ("Ann@example.com", "bob@example.com", "eve@xn--mnchen-3ya.de")
    assert mail.parsed["To"] == "Ann@example.com"
    assert mail.parsed["Cc"] == "bob@example.com"
    assert b"eve" not in mail.raw


async def test_nothing_that_looks_like_an_allowed_recipient_is_one(face: Front, tmp_path: Path) -> None:
    allowed = {"EMAIL_ALLOWED_RECIPIENTS": "@bank.com,ann@example.com", "EMAIL_DENIED_RECIPIENTS": "eve@bank.com"}
    strangers = [
        f"a@b{CYRILLIC_A}nk.com",
        "a@xn--bnk-6cd.com",
        "a@bank.com.evil.org",
        "a@evilbank.com",
        "a@sub.bank.com",
        "bank.com <a@evil.org>",
        '"a@bank.com" <a@evil.org>',
        "ann+x@example.com",
        "bob@example.com",
    ]
    denied = ["eve@bank.com", "EVE@BANK.COM", "eve@\uff42ank.com", "x <eve@bank.com>"]
    url = face.app.settings.store_url
    async with front(tmp_path, face.sink, url, worker=False, **allowed) as guarded:
        for field in ("to", "cc", "bcc"):
            members = [message(**{"to": ["ok@bank.com"], field: [written]}) for written in [*strangers, *denied]]
            await guarded.refuses(*((arguments, "recipient_refused: ") for arguments in members))
        assert not isinstance(await guarded.attempt("schedule_email", **later("ANN@EXAMPLE.COM", "x@bank.com")), str)


def later(*to: str) -> dict[str, Any]:
    """Return the arguments of an email that nobody will send."""
    return {"to": [*to], "subject": "Later", "body": "Hi", "delay": "P300D"}
