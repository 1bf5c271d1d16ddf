"""The operator's policy on recipients and senders."""

from __future__ import annotations

import pytest

from outspool.api.errors import describe
from outspool.domain.address import parse_mailbox
from outspool.domain.email import Mailbox
from outspool.domain.policy import Policy, parse_pattern
from outspool.domain.setting import Setting
from outspool.errors import InvalidArgument, MisconfiguredError, NotConfigured, RecipientRefused

_SUPPORT = Mailbox(address="support@example.com", name="Support")


def _box(text: str) -> Mailbox:
    return parse_mailbox(text, "to")


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("bob@example.com", "bob@example.com"),
        (" Bob@Example.COM ", "bob@example.com"),
        ("@Example.com", "@example.com"),
        ("@münchen.de", "@xn--mnchen-3ya.de"),
        ("@XN--MNCHEN-3YA.de", "@xn--mnchen-3ya.de"),
        ("anyone@example.com", "anyone@example.com"),
    ],
)
def test_a_pattern_is_an_address_or_a_domain_in_one_form(written: str, normal: str) -> None:
    assert parse_pattern(written) == normal


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "@",
        "example.com",
        "*",
        "*@example.com",
        "@*.example.com",
        "@.example.com",
        "bob@",
        "@local host",
        "@a@b.com",
        "Bob <bob@example.com>",
        "<bob@example.com>, eve@example.com",
        "@example.com, @example.org",
        "@exam ple.com",
        "@x.com\n@y.com",
    ],
)
def test_a_pattern_that_could_match_nothing_stops_the_start(pattern: str) -> None:
    with pytest.raises(MisconfiguredError, match="neither an address nor an @domain"):
        Policy(allowed=(pattern,))
    with pytest.raises(MisconfiguredError, match="neither an address nor an @domain"):
        Policy(denied=("@fine.com", pattern))


def test_without_patterns_everybody_may_be_written_to() -> None:
    Policy().check_recipients([_box("a@x.com"), _box("b@y.org")])


@pytest.mark.parametrize("address", ["bob@example.com", "BOB@EXAMPLE.COM", "x@corp.test", "ü <x@münchen.de>"])
def test_an_allowed_recipient_passes_in_any_spelling(address: str) -> None:
    Policy(allowed=("Bob@Example.com", "@CORP.test", "@xn--mnchen-3ya.de")).check_recipients([_box(address)])


@pytest.mark.parametrize(
    "address", ["alice@example.com", "x@sub.corp.test", "x@notcorp.test", "x@corp.test.evil.com", "bob+x@example.com"]
)
def test_a_recipient_outside_the_allowlist_is_refused(address: str) -> None:
    policy = Policy(allowed=("bob@example.com", "@corp.test"))
    with pytest.raises(RecipientRefused, match=address.replace("+", r"\+")) as refusal:
        policy.check_recipients([_box("bob@example.com"), _box(address)])
    assert "decides this with EMAIL_ALLOWED_RECIPIENTS." in describe(refusal.value)
    assert "bob@example.com" not in refusal.value.message.replace(address, "")


def test_an_empty_allowlist_allows_nobody() -> None:
    with pytest.raises(RecipientRefused):
        Policy(allowed=()).check_recipients([_box("bob@example.com")])


def test_denied_wins_over_allowed() -> None:
    policy = Policy(allowed=("@example.com",), denied=("EVE@example.com", "@münchen.de"))
    policy.check_recipients([_box("bob@example.com")])
    for address in ("eve@example.com", "Eve@Example.com", "x@xn--mnchen-3ya.de"):
        with pytest.raises(RecipientRefused) as refusal:
            policy.check_recipients([_box(address)])
        assert "decides this with EMAIL_DENIED_RECIPIENTS." in describe(refusal.value)


def test_many_refused_recipients_are_named_briefly() -> None:
    with pytest.raises(RecipientRefused, match=r'"0@x\.com", "1@x\.com", "2@x\.com" and 97 more') as refusal:
        Policy(denied=("@x.com",)).check_recipients([_box(f"{i}@x.com") for i in range(100)])
    assert len(str(refusal.value)) < 300


def test_the_configured_sender_is_the_default() -> None:
    assert Policy(sender=_SUPPORT).choose_sender(None) == _SUPPORT


def test_the_same_address_may_be_asked_for_under_another_name() -> None:
    asked = Mailbox(address="Support@Example.com", name="Billing")
    assert Policy(sender=_SUPPORT).choose_sender(asked) == asked


def test_the_configured_name_stays_when_only_its_address_is_asked_for() -> None:
    assert Policy(sender=_SUPPORT).choose_sender(Mailbox(address="support@example.com")) == _SUPPORT


def test_the_account_itself_may_be_asked_for() -> None:
    asked = Mailbox(address="me@gmail.com")
    assert Policy(sender=_SUPPORT, account="Me@gmail.com").choose_sender(asked) == asked


@pytest.mark.parametrize("account", [None, "me@gmail.com", "apikey"])
def test_nobody_sends_as_somebody_else(account: str | None) -> None:
    with pytest.raises(InvalidArgument, match=r"sends as support@example\.com only") as refusal:
        Policy(sender=_SUPPORT, account=account).choose_sender(Mailbox(address="ceo@example.com"))
    assert "Leave `from` out" in refusal.value.hint


def test_without_a_configured_sender_one_must_be_asked_for() -> None:
    asked = Mailbox(address="a@x.com")
    assert Policy().choose_sender(asked) == asked
    with pytest.raises(NotConfigured, match=Setting.SENDER):
        Policy().choose_sender(None)
