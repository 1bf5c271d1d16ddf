"""Bad input that the unit tests give to one function, and the hostile suite to every tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CYRILLIC_A, GREEK_O = "\N{CYRILLIC SMALL LETTER A}", "\N{GREEK SMALL LETTER OMICRON}"

MORE_THAN_ONE_ADDRESS = (
    "a@x.com, b@x.com",
    "a@x.com,b@x.com",
    "a@x.com; b@x.com",
    "a@x.com;b@x.com",
    "a@x.com b@x.com",
    "a@x.com,",
    "a@x.com;",
    ";a@x.com",
    "A <a@x.com>, B <b@x.com>",
    "<a@x.com>;<b@x.com>",
    "a@x.com, B <b@x.com>",
    '"A, B" <a@x.com>, b@x.com',
    "Friends: a@x.com, b@x.com;",
    "Friends: a@x.com;",
    "Friends: A <a@x.com>;",
    "undisclosed-recipients:;",
    '["a@x.com", "b@x.com"]',
)

NO_MAILBOX: Mapping[str, Sequence[str]] = {
    "one address": ["b@x.com NOTIFY=SUCCESS ORCPT=rfc822;e@x.com"],
    "empty address": ["", " ", "   ", "<>", "Name <>"],
    "has no @": ["bob", "bob\N{FULLWIDTH COMMERCIAL AT}x.com"],
    "has a space": [
        *("b@x.com SIZE=1", "<b@x.com SIZE=1>", "<b@x.com BODY=8BITMIME>", "b @x.com", "b@\u3000x.com"),
        "<b@x.com SMTPUTF8>",
    ],
    "something after the address": ["<b@x.com> SIZE=1", "<a@x.com> Name"],
    "not a name and one <address>": [
        *("<<a@x.com>>", "Name <<a@x.com>>", "Name <a@x.com", '"Name <a@x.com>', '"Joe" Doe <a@x.com>'),
    ],
    "has an @ in the name": ["a@x.com <b@x.com>", "Name a@x.com>"],
    "more than one @": ["a@b@c.com", "@relay.com:a@x.com", "<@relay.com:a@x.com>", "<a@b@c.com>", "a\\@b@x.com"],
    "a link with more": ["mailto:bob@x.com?subject=hi"],
    "comment": ["a@x.com (Bob)", "(Bob)a@x.com", "a(b)@x.com", "a@(b)x.com"],
    "literal": ["a@[192.0.2.1]", "a@[IPv6:2001:db8::1]", "a@[]"],
    "quotes": ['"a b"@x.com', '"a\\"b"@x.com', '""@x.com', '"."@x.com'],
    "routing character": ["bob%evil.com@x.com", "evil.com!bob@x.com", "b%0d%0a@x.com"],
    "not ASCII before the @": ["müller@x.com", "b\u200bob@x.com", f"{CYRILLIC_A}nn@x.com"],
    "not complete": ["bob@gmail", "bob@localhost", "bob@test"],
    "something after the @-sign": ["bob@"],
    "something before the @-sign": ["@x.com", "..@x.com"],
    "period": ["bob@x..com", "bob@x.com.", "bob@.x.com"],
    "hyphen": ["bob@-x.com"],
    "invalid characters": [
        *("a\\b@x.com", "bob@x.com%0d%0aRCPT", "bob@x_y.com", "bob@\N{PARENTHESIZED DIGIT ONE}.com"),
    ],
    "unsafe characters": ["bob@x\u202e.com"],
    "IDNA": ["bob@xn--a.com"],
    "special-use": ["bob@a.invalid", "bob@printer.local"],
    "top-level domain": ["a@192.0.2.1"],
    "so many characters": [f"bob@{'x' * 64}.com"],
    "is not an address that mail can reach": [
        *("bob@x\u200b.com", "a@x.com\\", "a@x.com:25", "a@x.com/b"),
        f"a@{'ü' * 50}.{'ü' * 50}.{'ü' * 50}.{'ü' * 50}.com",
    ],
    "254": [f"{'a' * 249}@x.com", f"a@{'x.' * 126}com"],
    "201 characters; 200 is the most": [f"{'N' * 201} <a@x.com>"],
    "characters long": ["N" * 10_000_000, f"{'N' * 100_000} <a@x.com>", f'"{"a" * 700}" <a@x.com>'],
    "line break": [
        *("a@x.com\r\nRCPT TO:<e@x.com>", "a@x.com\n", "a@x.com>\r\nDATA"),
        *("N\r\nBcc: e@x.com <a@x.com>", "N\u2028 <a@x.com>"),
    ],
    "a tab": ["a@x.com\t"],
    "control character U+0000": ["a\0@x.com", "a@x\0.com"],
    "control character U+0085": ["N\x85 <a@x.com>"],
    "control character U+007F": ["a\x7f@x.com"],
    "lone surrogate": ["N\ud83d <a@x.com>", "\udfffa@x.com"],
    "encoded word": [
        *("=?utf-8?q?x=0D=0ABcc=3A_e?= <a@x.com>", "=?utf-8?b?DQo=?=@x.com", '"=\\?utf-8?q?=0A?=" <a@x.com>'),
    ],
}
"""What is not one mailbox that mail can reach, by words of the refusal."""

MAILBOXES: dict[str, tuple[str, str]] = {
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
"""What is one mailbox although it may not look like it, and the name and address that it is."""

CONTROLS = (*map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)), "\ud800", "\udfff")
"""Characters that no header can hold."""

ENCODED_WORDS = (
    "=?utf-8?q?x=0D=0ABcc=3Aeve=40example.com?=",
    "=?utf-8?q?x=0d=0abcc?=",
    "=?UTF-8?Q?==0D?=",
    "=?UTF-8?Q?=0a?=",
    "=?utf-8?q?=0D=0A?=",
    "=?utf-8*en?q?=0A?=",
    "=?utf-8?b?DQo=?=",
    "=?us-ascii?B?AA==?=",
    "=?utf-7?q?+AA0ACg-?=",
    "=?utf-16?b?/v8ADQAK?=",
    "=?unicode_escape?q?=5Cn?=",
    "=?iso-8859-1?q?=85?=",
    "=?utf-8?q?=E2=80=A8?=",
    "=?no-such-charset?q?=0A?=",
    "=??q?=0A?=",
    "=?a\N{DEGREE SIGN}?q?=0A?=",
    "fine =?utf-8?q?fine?= =?utf-8?q?=00?= fine",
    "=?x?b?decoy =?utf-8?q?=0D=0A?=",
    "=?a?=?utf-8?q?=0D=0A?=",
    "=?utf-8?q?a?=?utf-8?q?=0A?=",
    "=?utf-8?q?=C2?= =?utf-8?q?=85?=",
    "=?utf-8?b?DQ?=",
    "=?utf-8?q?=0D",
    "=?utf-8?q?=0D=0ABcc: eve@example.com",
    "=?utf-8?b?DQo=",
    "=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D0A=3F=3D?=",
)
"""Encoded words (RFC 2047) that carry a control character."""

PLAIN_ENCODED_WORDS = (
    "=?utf-8?q?Gr=C3=BC=C3=9Fe?=",
    "=?utf-8?q?a?= =?utf-8?b?Yg==?=",
    "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=",
)

HEADER_NAMES: Mapping[str, Sequence[str]] = {
    "cannot be set here": [
        *("Bcc", "bcc", "BCC", "To", "to", "Cc", "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID"),
        *("References", "In-Reply-To", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
        *("Content-Disposition", "Return-Path", "Received", "Resent-To", "Resent-Bcc", "DKIM-Signature", "ARC-Seal"),
        *("Errors-To", "Authentication-Results", "Return-Receipt-To", "Apparently-To", "Disposition-Notification-To"),
        *("", " ", "X", "X-", "X A", "X Y", "X-A b", "X-A B", "X-A:", "X-A: b\r\nBcc", "X-A\r\nBcc", "X-A\n", "X-A\0"),
        *("X-\x7f", "X-Ä", "X\N{HYPHEN}A", "\N{CYRILLIC CAPITAL LETTER HA}-A", " X-A", "X-A ", "B\u200bcc", "\ud800"),
        *("\N{LATIN SMALL LETTER LONG S}ender", "X-" + "a" * 75, "X-" + "a" * 100_000, "=?utf-8?q?Bcc?=", "X-(a)"),
    ],
    "written by outspool": ["X-Priority", "x-priority", "X-MSMail-Priority", "X-Mailer", "x-mailer"],
    "orders to mail relays": [
        *("X-SMTPAPI", "x-smtpapi", "X-MC-BccAddress", "X-Sender", "X-Receiver", "x-receiver"),
    ],
}
"""Names of headers that are not the caller's to write, by words of the refusal."""

HEADERS: Sequence[tuple[Mapping[str, str], str]] = [
    ({"X-A": "1", "x-a": "2"}, "twice"),
    ({"List-Id": "<a.example.com>", "LIST-ID": "<b.example.com>"}, "twice"),
    ({"X-A": ""}, "is empty"),
    ({"X-A": "  "}, "is empty"),
    ({"X-A": " \u00a0 "}, "is empty"),
    ({"X-A": "a\nBcc: e@x"}, "line break"),
    ({"X-A": "=?utf-8?q?=0A?="}, "encoded word"),
    ({"X-A": "a" * 999}, "998 is the most"),
    ({"X-A": "é" * 100_000}, "998 is the most"),
    ({f"X-{n}": "1" for n in range(21)}, "21 entries; 20 is the most"),
]
"""Headers whose values no email can hold, and words of the refusal."""

NO_MESSAGE_ID = (
    *("", "<>", "<a@b", "a@b>", "<a @b>", "<a@b> <c@d>", "<<a@b>>", "<ä@b>", "Re: hello"),
    *("<a@b>\r\nBcc: e@x", "=?utf-8?q?=0A?=@b", "a@b>\u00a0<c@d", f"{'a' * 994}@b", f"<{'a' * 995}@b>"),
)


def by_words(inputs: Mapping[str, Sequence[Any]]) -> list[tuple[Any, str]]:
    """Return each of the inputs with the words of its refusal."""
    return [(text, words) for words, texts in inputs.items() for text in texts]
