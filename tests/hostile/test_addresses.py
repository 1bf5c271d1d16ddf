"""Hostile addresses: each is one mailbox, and the envelope has exactly the requested ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.composing import mailboxes_in
from support.front import Front, front, message

pytestmark = pytest.mark.asyncio(loop_scope="session")

CYRILLIC_A, GREEK_O = "\N{CYRILLIC SMALL LETTER A}", "\N{GREEK SMALL LETTER OMICRON}"

REFUSED = {
    "one address": [  # "is not one address", "is more than one address"
        "a@x.com, b@x.com",
        "a@x.com,b@x.com",
        "a@x.com;b@x.com",
        "a@x.com b@x.com",
        "a@x.com,",
        "A <a@x.com>, B <b@x.com>",
        '"A, B" <a@x.com>, b@x.com',
        "Friends: a@x.com, b@x.com;",
        "Friends: A <a@x.com>;",
        "undisclosed-recipients:;",
        "b@x.com NOTIFY=SUCCESS ORCPT=rfc822;e@x.com",
    ],
    "empty address": ["", " ", "<>", "Name <>"],
    "has no @": ["bob", "bob\N{FULLWIDTH COMMERCIAL AT}x.com"],
    "has a space": ["b@x.com SIZE=1", "<b@x.com BODY=8BITMIME>", "b @x.com", "b@\u3000x.com", "<b@x.com SMTPUTF8>"],
    "something after the address": ["<b@x.com> SIZE=1", "<a@x.com> Name"],
    "not a name and one <address>": ["<<a@x.com>>", "Name <a@x.com", '"Name <a@x.com>', '"Joe" Doe <a@x.com>'],
    "has an @ in the name": ["a@x.com <b@x.com>", "Name a@x.com>"],
    "more than one @": ["a@b@c.com", "@relay.com:a@x.com", "<@relay.com:a@x.com>", "<a@b@c.com>"],
    "comment": ["a@x.com (Bob)", "(Bob)a@x.com", "a(b)@x.com", "a@(b)x.com"],
    "literal": ["a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@[]"],
    "quotes": ['"a b"@x.com', '"a"@x.com', '"a\\"b"@x.com', '""@x.com'],
    "routing character": ["bob%evil.com@x.com", "evil.com!bob@x.com", "b%0d%0a@x.com"],
    "not ASCII before the @": ["müller@x.com", "b\u200bob@x.com", f"{CYRILLIC_A}nn@x.com"],
    "not complete": ["bob@gmail", "bob@localhost"],
    "is not an address that mail can reach": [
        *("bob@", "@x.com", ".bob@x.com", "bob.@x.com", "b..b@x.com", "bob@x..com", "bob@x.com.", "bob@-x.com"),
        *("bob@x_y.com", "bob@x\u202e.com", "bob@x\u200b.com", "bob@xn--a.com", "bob@a.invalid", "bob@printer.local"),
        *("mailto:bob@x.com", "'bob@x.com'", "bob@x.com%0d%0aRCPT", "a\\b@x.com", "a@192.0.2.1", "a@x.com\\"),
        *(f"bob@{'x' * 64}.com", f"a@{'ü' * 50}.{'ü' * 50}.{'ü' * 50}.{'ü' * 50}.com", "a@x.com:25", "a@x.com/b"),
    ],
    "254 characters": [f"{'a' * 249}@x.com", f"a@{'x.' * 126}com"],
    "200 is the most": [f"{'N' * 201} <a@x.com>"],
    "characters long": ["N" * 1_000_000, f"{'N' * 100_000} <a@x.com>", f'"{"a" * 700}" <a@x.com>'],
    "line break": [
        "a@x.com\r\nRCPT TO:<e@x.com>",
        "a@x.com\n",
        "a@x.com>\r\nDATA",
        "N\r\nBcc: e@x.com <a@x.com>",
        "N\u2028 <a@x.com>",
    ],
    "control character": ["a\0@x.com", "a@x\0.com", "N\x85 <a@x.com>", "a\x7f@x.com"],
    "lone surrogate": ["N\ud83d <a@x.com>", "\udfffa@x.com"],
    "encoded word": [
        "=?utf-8?q?x=0D=0ABcc=3A_e?= <a@x.com>",
        "=?utf-8?b?DQo=?=@x.com",
        '"=\\?utf-8?q?=0A?=" <a@x.com>',
    ],
}


async def test_what_is_not_one_mailbox_is_refused(face: Front) -> None:
    members = [(address, words) for words, addresses in REFUSED.items() for address in addresses]
    for field in ("to", "cc", "bcc", "reply_to"):
        await face.refuses(*(({field: ["ok@example.com", address]}, words) for address, words in members))
    await face.refuses(*(({"from": address}, words) for address, words in members))


async def test_what_is_no_list_of_addresses_is_refused(face: Front) -> None:
    await face.refuses(
        ({"to": []}, "no recipient"),
        ({"to": ""}, "empty address"),
        ({"to": "a@x.com, b@x.com"}, "not one address"),
        ({"to": ["a@x.com", 7]}, "must be a string"),
        ({"to": ["a@x.com", None]}, "must be a string"),
        ({"to": {"email": "a@x.com"}}, "must be a list of strings"),
        ({"to": ["a@x.com", ["b@x.com"]]}, "must be a string"),
        ({"to": [f"a{n}@x.com" for n in range(1001)]}, "is the most"),
        ({"to": ["a@x.com"] * 100_000}, "is the most"),
        ({"bcc": [f"a{n}@x.com" for n in range(1001)]}, "is the most"),
        ({"from": "eve@example.com"}, "from"),
        ({"from": "me@example.com, eve@example.com"}, "not one address"),
        ({"from": ["me@example.com"]}, "must be a string"),
    )


TAKEN = {
    " a@b.com ": ("", "a@b.com"),
    "<a@b.com>": ("", "a@b.com"),
    "bob@München.DE": ("", "bob@xn--mnchen-3ya.de"),
    "bob@XN--MNCHEN-3YA.de": ("", "bob@xn--mnchen-3ya.de"),
    "山田太郎 <y@例え.jp>": ("山田太郎", "y@xn--r8jz45g.jp"),
    "b@\uff45xample.com": ("", "b@example.com"),
    "b@example。com": ("", "b@example.com"),
    "b@straße.de": ("", "b@xn--strae-oqa.de"),
    f"Bank <b@b{CYRILLIC_A}nk.com>": ("Bank", "b@xn--bnk-6cd.com"),
    f"b@g{GREEK_O}{GREEK_O}gle.com": ("", "b@xn--ggle-0nda.com"),
    "Bob+tag.x=y@Sub.Example.COM": ("", "Bob+tag.x=y@sub.example.com"),
    "o'neil@x.com": ("", "o'neil@x.com"),
    "{a|b}~^*/?#$&`@x.com": ("", "{a|b}~^*/?#$&`@x.com"),
    "-f@x.com": ("", "-f@x.com"),
    f"{'a' * 64}@x.com": ("", f"{'a' * 64}@x.com"),
    '"Doe, John" <j@x.com>': ("Doe, John", "j@x.com"),
    "Doe, John <j2@x.com>": ("Doe, John", "j2@x.com"),
    '"a\\"b\\\\c" <j3@x.com>': ('a"b\\c', "j3@x.com"),
    '"eve@x.com>, <mallory@x.com" <j4@x.com>': ("eve@x.com>, <mallory@x.com", "j4@x.com"),
    '"Bank: a@b.com;" <j5@x.com>': ("Bank: a@b.com;", "j5@x.com"),
    'Joe "Q" Public (Acme) <j6@x.com>': ('Joe "Q" Public (Acme)', "j6@x.com"),
    "=?utf-8?q?Gr=C3=BC=C3=9Fe?= <j7@x.com>": ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "j7@x.com"),
    "\u202emoc.elpmaxe eve\u202c <j8@x.com>": ("\u202emoc.elpmaxe eve\u202c", "j8@x.com"),
    "Zoe\u0308 <z@x.com>": ("Zoë", "z@x.com"),
    "👩‍👩‍👧 <j9@x.com>": ("👩‍👩‍👧", "j9@x.com"),
    f"{'ü' * 200} <j10@x.com>": ("ü" * 200, "j10@x.com"),
    f"{'N ' * 99}N <j11@x.com>": (f"{'N ' * 99}N", "j11@x.com"),
    '"' + "\\" * 400 + '" <j12@x.com>': ("\\" * 200, "j12@x.com"),
}
"""What is taken, and the name and address that a stranger's program must read."""


async def test_each_mailbox_arrives_as_it_was_meant_in_the_envelope_and_in_the_header(face: Front) -> None:
    mails = await face.delivered(
        *({"to": [written], "cc": ["Cc <cc@example.com>"], "reply_to": [written]} for written in TAKEN),
        {"to": [*TAKEN], "bcc": ["hidden@example.net"]},
        {"to": [], "cc": [*TAKEN]},
        {"to": [], "bcc": [*TAKEN]},
    )
    for mail, (name, address) in zip(mails, TAKEN.values(), strict=False):
        assert mail.recipients == (address, "cc@example.com")
        for field in ("To", "Reply-To"):
            assert mailboxes_in(mail.raw, field) == [(name, address)]
            assert [read.addr_spec for read in mail.parsed[field].addresses] == [address]
    *_, everybody, copies, unseen = mails
    everyone = list({address: (name, address) for name, address in reversed(TAKEN.values())}.values())[::-1]
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
