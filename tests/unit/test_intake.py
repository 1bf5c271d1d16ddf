"""A caller's request becomes a valid `Content`, or one clear error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.domain.attachment import Attachment
from outspool.domain.email import Content, Mailbox, Priority
from outspool.domain.policy import Policy
from outspool.domain.setting import Setting
from outspool.errors import InvalidArgument, InvalidSchedule, NotConfigured, RecipientRefused, Refusal, TooLarge
from outspool.services.acceptance.validation import (
    EmailRequest,
    check_idempotency_key,
    revise_content,
    validate_request,
)
from outspool.services.acceptance.validation import (
    fingerprint_content as fingerprint,
)

_ME = Mailbox(address="me@example.com", name="Me")
POLICY = Policy(sender=_ME)
SMALL = EmailRequest(to=["a@x.com"], subject="Hello", body="Hi")


def _content(**changes: Any) -> Content:
    return validate_request(replace(SMALL, **changes), POLICY)


def test_a_whole_draft_is_read() -> None:
    content = validate_request(
        EmailRequest(
            to=["Doe, John <j@x.com>", "k@x.com"],
            cc=["c@x.com"],
            bcc=["b@münchen.de"],
            reply_to=["r@x.com", "R@X.com"],
            sender="Billing <me@example.com>",
            subject="Grüße",
            body="Hallo\n",
            html="<p>Hallo</p>",
            in_reply_to="1@x.com",
            references=["<0@x.com>", "1@x.com"],
            headers={"X-A": "1"},
            tags=["a", "a"],
            priority="high",
        ),
        POLICY,
    )
    assert content == Content(
        sender=Mailbox(address="me@example.com", name="Billing"),
        to=(Mailbox(address="j@x.com", name="Doe, John"), Mailbox(address="k@x.com")),
        cc=(Mailbox(address="c@x.com"),),
        bcc=(Mailbox(address="b@xn--mnchen-3ya.de"),),
        reply_to=(Mailbox(address="r@x.com"),),
        subject="Grüße",
        body="Hallo\n",
        html="<p>Hallo</p>",
        in_reply_to="<1@x.com>",
        references=("<0@x.com>", "<1@x.com>"),
        headers={"X-A": "1"},
        tags=("a",),
        priority=Priority.HIGH,
    )


def test_a_small_draft_gets_the_configured_sender_and_the_defaults() -> None:
    assert _content() == Content(sender=_ME, to=(Mailbox(address="a@x.com"),), subject="Hello", body="Hi")


def test_every_field_of_a_draft_is_a_field_of_the_content_or_of_a_template() -> None:
    assert {f.name for f in fields(EmailRequest)} - _OF_TEMPLATES == {f.name for f in fields(Content)}


@pytest.mark.parametrize(
    ("changes", "error", "why"),
    [
        ({"to": []}, InvalidArgument, "has no recipient"),
        ({"to": ["a@x.com, b@x.com"]}, Refusal, "as its own item"),
        ({"to": ["a@x.com", ""]}, Refusal, "to holds an empty address"),
        ({"cc": ["nobody"]}, Refusal, 'cc: "nobody" has no @'),
        ({"bcc": ["a@x.com\nb@x.com"]}, Refusal, "bcc holds a line break"),
        ({"reply_to": ["Name"]}, Refusal, "reply_to"),
        ({"sender": "eve@x.com"}, InvalidArgument, "sends as me@example.com only"),
        ({"sender": "me"}, Refusal, "from: "),
        ({"body": None}, InvalidArgument, "neither body nor html. Give `body`"),
        ({"subject": "", "body": ""}, InvalidArgument, "The email is empty"),
        ({"subject": " ", "body": "\n", "html": "\t"}, InvalidArgument, "The email is empty"),
        ({"subject": "a\r\nBcc: e@x.com"}, InvalidArgument, "subject holds a line break"),
        ({"subject": "=?utf-8?q?x=0D=0ABcc=3Ae?="}, InvalidArgument, "subject holds an encoded word"),
        ({"subject": "x" * 10_000_000}, InvalidArgument, "subject is 10,000,000 characters long"),
        ({"body": "a\x00"}, InvalidArgument, "body holds the control character"),
        ({"html": "<p>\ud800"}, InvalidArgument, "html holds half a character"),
        ({"body": "x" * (25 * 1024 * 1024 + 1)}, TooLarge, "The text is 25.01 MB; 25 MB is the most"),
        ({"body": "ü" * (13 * 1024 * 1024)}, TooLarge, "The text is 26 MB; 25 MB is the most"),
        ({"in_reply_to": "a b"}, InvalidArgument, "in_reply_to"),
        ({"references": ["<a@b> c"]}, InvalidArgument, "references"),
        ({"headers": {"Bcc": "e@x.com"}}, InvalidArgument, "cannot be set here"),
        ({"tags": ["a b"]}, InvalidArgument, "is not a tag"),
        ({"priority": "urgent"}, InvalidArgument, 'priority "urgent" is unknown. Use one of low, normal, high'),
        ({"to": [f"{i}@x.com" for i in range(101)]}, InvalidArgument, "101 addresses are given; 100 is the most"),
        ({"bcc": [f"{i}@x.com" for i in range(100)]}, InvalidArgument, "101 addresses are given"),
        ({"to": ["not an address"] * 1_000_000}, InvalidArgument, "1,000,000 addresses are given"),
        ({"reply_to": ["not an address"] * 1_000_000}, InvalidArgument, "1,000,000 addresses are given"),
    ],
)
def test_each_mistake_gets_one_clear_sentence(changes: Mapping[str, Any], error: type[Refusal], why: str) -> None:
    with pytest.raises(error, match=re.escape(why)) as refusal:
        _content(**changes)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300
    with pytest.raises(error, match=re.escape(why)):
        revise_content(_content(), changes, POLICY)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        validate_request(EmailRequest(), POLICY)


def test_an_unconfigured_sender_is_asked_for() -> None:
    with pytest.raises(NotConfigured, match=Setting.SENDER):
        validate_request(SMALL, Policy())


def test_an_email_may_have_no_subject_or_say_everything_in_it() -> None:
    assert _content(subject="").body == "Hi"
    assert _content(body="").subject == "Hello"


@pytest.mark.parametrize(
    ("body", "html", "kept"),
    [("", "<p>", (None, "<p>")), ("Hi", "", ("Hi", None)), ("", "", ("", None)), (None, "", ("", None))],
)
def test_an_empty_alternative_does_not_hide_the_other(
    body: str | None, html: str | None, kept: tuple[str | None, str | None]
) -> None:
    content = _content(body=body, html=html)
    assert (content.body, content.html) == kept


def test_each_address_is_kept_once_where_it_first_stands() -> None:
    content = _content(to=["A <a@x.com>", "a@X.com"], cc=["B@x.com", "A@x.com"], bcc=["b@x.com", "a@x.com", "c@x.com"])
    assert [m.address for m in content.to] == ["a@x.com"]
    assert [m.address for m in content.cc] == ["B@x.com"]
    assert [m.address for m in content.bcc] == ["c@x.com"]
    assert content.to[0].name == "A"


def test_repeated_addresses_do_not_count_twice() -> None:
    assert len(_content(to=["a@x.com"] * 101).to) == 1


def test_as_many_recipients_as_allowed_are_taken() -> None:
    assert len(_content(to=[f"{i}@x.com" for i in range(100)]).to) == 100


def test_the_operators_word_counts_for_every_kind_of_recipient() -> None:
    policy = Policy(sender=_ME, denied=("@evil.com",))
    eve = ["e@evil.com"]
    for draft in (replace(SMALL, to=eve), replace(SMALL, cc=eve), replace(SMALL, bcc=eve)):
        with pytest.raises(RecipientRefused):
            validate_request(draft, policy)


def test_only_what_is_named_changes() -> None:
    before = _content(cc=["c@x.com"], html="<p>", tags=["t"], headers={"X-A": "1"})
    assert revise_content(before, {}, POLICY) == before
    assert revise_content(before, {"subject": "New"}, POLICY) == replace(before, subject="New")
    assert revise_content(before, {"to": ["z@x.com"]}, POLICY) == replace(before, to=(Mailbox(address="z@x.com"),))
    assert revise_content(before, {"priority": "low"}, POLICY) == replace(before, priority=Priority.LOW)


def test_none_empties_a_field() -> None:
    before = _content(
        cc=["c@x.com"], html="<p>", tags=["t"], headers={"X-A": "1"}, sender="Other <me@example.com>", priority="high"
    )
    emptied = revise_content(before, dict.fromkeys(["cc", "html", "tags", "headers", "sender", "priority"]), POLICY)
    assert emptied == _content()


def test_a_change_that_would_leave_no_email_is_refused() -> None:
    mistakes: list[Mapping[str, Any]] = [{"to": []}, {"to": None}, {"body": None}, {"body": "", "subject": ""}]
    for changes in mistakes:
        with pytest.raises(InvalidArgument):
            revise_content(_content(), changes, POLICY)


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='"attachments" is not a part of an email'):
        revise_content(_content(), {"subject": "x", "attachments": []}, POLICY)


def test_a_new_half_counts_together_with_the_old_one() -> None:
    policy = Policy(sender=_ME, max_message_bytes=1000)
    before = validate_request(replace(SMALL, body="x" * 600), policy)
    with pytest.raises(TooLarge):
        revise_content(before, {"html": "y" * 600}, policy)
    assert revise_content(before, {"html": "y" * 600, "body": None}, policy).html == "y" * 600


def test_a_revised_email_must_still_be_allowed() -> None:
    with pytest.raises(RecipientRefused):
        revise_content(_content(), {"subject": "x"}, Policy(sender=_ME, allowed=("@corp.com",)))


def test_a_recipient_moved_to_another_kind_is_not_doubled() -> None:
    before = _content(to=["a@x.com"], bcc=["b@x.com"])
    after = revise_content(before, {"to": ["b@x.com"]}, POLICY)
    assert [m.address for _, m in after.list_recipients()] == ["b@x.com"]


@pytest.mark.parametrize("key", ["a", "x" * 255, "order 17/~!", "0190-x"])
def test_an_idempotency_key_is_any_printable_ascii(key: str) -> None:
    assert check_idempotency_key(key) == key


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ä", "a\n", "a\x00", "\ud800", "a\tb"])
def test_what_is_no_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument, match="idempotency_key must be"):
        check_idempotency_key(key)


def test_the_same_request_has_the_same_fingerprint_however_it_is_spelt() -> None:
    one = _content(to=["A <a@X.com>", "a@x.com"], headers={"X-A": "1", "X-B": "2"}, in_reply_to="1@x", html="")
    two = _content(to=["A <a@x.com>"], headers={"X-B": "2", "X-A": "1"}, in_reply_to="<1@x>")
    assert fingerprint(one) == fingerprint(two)
    assert re.fullmatch("[0-9a-f]{64}", fingerprint(one))


def test_the_same_schedule_has_the_same_fingerprint_at_any_time() -> None:
    content = _content()
    berlin = fingerprint(content, scheduled_at="2020-07-01T09:00", timezone="Europe/Berlin")
    assert berlin == fingerprint(content, scheduled_at="2020-07-01T07:00:00Z")
    assert berlin != fingerprint(content, scheduled_at="2020-07-01T09:00:00Z")
    assert fingerprint(content, delay="PT2H") == fingerprint(content, delay="PT2H")
    assert (
        len(
            {
                fingerprint(content),
                berlin,
                fingerprint(content, delay="PT2H"),
                fingerprint(content, delay="PT3H"),
            }
        )
        == 4
    )
    with pytest.raises(InvalidSchedule):
        fingerprint(content, scheduled_at="tomorrow")


_OF_TEMPLATES = {"template", "variables"}
_OTHERS: Mapping[str, Any] = {
    "to": ["b@x.com"],
    "cc": ["b@x.com"],
    "bcc": ["b@x.com"],
    "reply_to": ["b@x.com"],
    "sender": "Other <me@example.com>",
    "subject": "Other",
    "body": "Other",
    "html": "Other",
    "in_reply_to": "b@x.com",
    "references": ["b@x.com"],
    "headers": {"X-A": "b"},
    "tags": ["b"],
    "priority": "low",
}


def test_every_field_counts_in_the_fingerprint() -> None:
    assert _OTHERS.keys() | {"attachments"} == {f.name for f in fields(EmailRequest)} - _OF_TEMPLATES
    prints = {fingerprint(_content(**{name: value})) for name, value in _OTHERS.items()}
    assert len(prints | {fingerprint(_content())}) == len(_OTHERS) + 1


def test_every_file_and_what_is_said_of_it_counts_in_the_fingerprint() -> None:
    file = Attachment(filename="a.txt", content_type="text/plain", content_id=None, size=1, digest="a" * 64)
    others = [
        (),
        (file, file),
        (replace(file, filename="b.txt"),),
        (replace(file, content_type="text/csv"),),
        (replace(file, content_id="a"),),
        (replace(file, digest="b" * 64),),
    ]
    prints = {fingerprint(replace(_content(), attachments=files)) for files in [(file,), *others]}
    assert len(prints) == len(others) + 1


def test_a_template_and_its_variables_count_in_the_fingerprint() -> None:
    content = _content()
    asked: list[Mapping[str, Any]] = [
        {},
        {"template": "report"},
        {"template": "notification"},
        {"template": "report", "variables": {"title": "A", "rows": [[1]]}},
        {"template": "report", "variables": {"title": "A", "rows": [[2]]}},
    ]
    assert len({fingerprint(content, **more) for more in asked}) == len(asked)
    one, two = ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert fingerprint(content, template="t", variables=one) == fingerprint(content, template="t", variables=two)


def test_a_fingerprint_of_today_is_one_of_tomorrow() -> None:
    # Stored beside every email for at least 30 days: a change of this value breaks repeated calls over an upgrade.
    assert fingerprint(_content(), delay="PT2H") == "0ed364a7dc3761457b82cf5883dce95d43faf2bf0143221625d96f58658df1c3"


_ANY = st.text(st.characters(), max_size=20)
_DRAFTS = st.builds(
    EmailRequest,
    to=st.lists(_ANY | st.just("a@x.com"), max_size=3),
    cc=st.lists(_ANY | st.just("Ä <a@x.com>"), max_size=2),
    sender=st.none() | _ANY,
    subject=_ANY,
    body=st.none() | _ANY,
    html=st.none() | _ANY,
    in_reply_to=st.none() | _ANY,
    references=st.lists(_ANY, max_size=2),
    headers=st.dictionaries(_ANY | st.just("X-A"), _ANY, max_size=2),
    tags=st.lists(_ANY, max_size=2),
    priority=_ANY | st.just("normal"),
)


@given(_DRAFTS)
def test_any_draft_is_read_or_refused_in_one_printable_line(draft: EmailRequest) -> None:
    try:
        content = validate_request(draft, POLICY)
    except Refusal as refusal:
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 1500
    else:
        assert fingerprint(content) == fingerprint(revise_content(content, {}, POLICY))
