"""Threading fields, list fields and automatic mail's fields are as mail programs expect."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.composing import an_email, assert_wire_safe, compose_bytes, parsed

from outspool.errors import InvalidArgument

LEAVE = "<https://example.com/leave?id=1>"
ONE_CLICK = "List-Unsubscribe=One-Click"


def line(raw: bytes, name: str) -> str:
    """Return a field as it is written, unfolded."""
    found = re.search(rf"^{name}: (.*(?:\r\n .*)*)\r$".encode(), raw, re.MULTILINE)
    return found[1].decode().replace("\r\n", "") if found else ""


def written(**headers: str) -> bytes:
    raw = compose_bytes(an_email(headers={name.replace("_", "-"): value for name, value in headers.items()}))
    assert_wire_safe(raw)
    return raw


@pytest.mark.parametrize(
    ("parent", "references", "in_reply_to", "thread"),
    [
        (None, (), None, []),
        ("<b@x>", (), "<b@x>", ["<b@x>"]),
        ("<b@x>", ("<a@x>", "<b@x>"), "<b@x>", ["<a@x>", "<b@x>"]),
        ("<b@x>", ("<a@x>",), "<b@x>", ["<a@x>", "<b@x>"]),
        ("<b@x>", ("<b@x>", "<a@x>"), "<b@x>", ["<a@x>", "<b@x>"]),
        (None, ("<a@x>", "<b@x>"), "<b@x>", ["<a@x>", "<b@x>"]),
    ],
)
def test_a_reply_names_its_parent_and_a_thread_that_ends_with_it(
    parent: str | None, references: tuple[str, ...], in_reply_to: str | None, thread: list[str]
) -> None:
    message = parsed(compose_bytes(an_email(in_reply_to=parent, references=references)))
    assert message["In-Reply-To"] == in_reply_to
    assert (message["References"] or "").split() == thread


def test_a_subject_that_continues_a_thread_is_left_as_it_is() -> None:
    """Gmail compares subjects without their "Re:"; which prefix a language uses is the caller's to know."""
    assert parsed(compose_bytes(an_email(subject="AW: Offer", in_reply_to="<a@x>")))["Subject"] == "AW: Offer"


@pytest.mark.parametrize(
    "value",
    [
        LEAVE,
        "<mailto:leave@example.com?subject=leave>",
        f"{LEAVE}, <mailto:leave@example.com>",
        f"{LEAVE},<mailto:leave@example.com>",
        "<https://example.com/a,b;c=%20?=&x=?>",
        f"<https://example.com/{'u' * 900}>",
    ],
)
def test_the_addresses_for_leaving_a_list_stay_as_they_are(value: str) -> None:
    assert line(written(List_Unsubscribe=value), "List-Unsubscribe") == re.sub(r",\s*<", ", <", value)


@pytest.mark.parametrize(
    "value",
    [
        "https://example.com/leave",
        "<ftp://example.com/leave>",
        "<javascript:alert(1)>",
        "<https://example.com/a b>",
        "<https://example.com/ü>",
        "<https://example.com/=?utf-8?q?a?=>",
        f"{LEAVE} {LEAVE}",
        f"{LEAVE},",
        f"leave here: {LEAVE}",
        "<>",
        "<https://>",
    ],
)
def test_an_address_for_leaving_that_no_program_could_use_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match="would not be understood"):
        written(List_Unsubscribe=value)


def test_leaving_with_one_click_takes_both_fields() -> None:
    raw = written(List_Unsubscribe=f"{LEAVE}, <mailto:leave@example.com>", List_Unsubscribe_Post=ONE_CLICK)
    assert line(raw, "List-Unsubscribe-Post") == ONE_CLICK


@pytest.mark.parametrize(
    "unsubscribe",
    [
        {},
        {"List_Unsubscribe": "<mailto:leave@example.com>"},
        {"List_Unsubscribe": "<http://example.com/leave>"},
        {"List_Unsubscribe": f"{LEAVE}, <http://example.com/leave>"},
        {"list_unsubscribe": f"{LEAVE}, <https://example.org/leave>"},
    ],
)
def test_one_click_without_the_one_address_to_click_on_is_refused(unsubscribe: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="exactly one https URL"):
        written(List_Unsubscribe_Post=ONE_CLICK, **unsubscribe)


@pytest.mark.parametrize("value", ["yes", "List-Unsubscribe=one-click", "=?utf-8?q?List-Unsubscribe=3DOne-Click?="])
def test_one_click_is_said_in_one_way_only(value: str) -> None:
    with pytest.raises(InvalidArgument, match="can only be"):
        written(List_Unsubscribe=LEAVE, List_Unsubscribe_Post=value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("<weekly.example.com>", "<weekly.example.com>"),
        ("Weekly news <weekly.example.com>", "Weekly news <weekly.example.com>"),
        ("Weekly, news <weekly.example.com>", '"Weekly, news" <weekly.example.com>'),
        ("Wöchentlich <weekly.example.com>", "=?utf-8?q?W=C3=B6chentlich?= <weekly.example.com>"),
        ("a <b> <weekly.example.com>", '"a <b>" <weekly.example.com>'),
    ],
)
def test_a_list_keeps_its_id_whatever_its_description(value: str, expected: str) -> None:
    assert line(written(List_Id=value), "List-Id") == expected


@pytest.mark.parametrize("value", ["weekly.example.com", "<weekly>", "<weekly.example.com> x", "<wöchentlich.example>"])
def test_what_is_not_the_id_of_a_list_is_refused(value: str) -> None:
    with pytest.raises(InvalidArgument, match="would not be understood"):
        written(List_Id=value)


@pytest.mark.parametrize("value", ["auto-generated", "auto-replied", "no", "auto-notified; owner-token=af3"])
def test_automatic_mail_says_so(value: str) -> None:
    assert line(written(Auto_Submitted=value), "Auto-Submitted") == value


@pytest.mark.parametrize("value", ["yes, it is", "auto-generated bulk", "é", "=?utf-8?q?no?=", '"no"'])
@pytest.mark.parametrize("name", ["Auto_Submitted", "Precedence"])
def test_a_keyword_that_no_program_knows_how_to_read_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidArgument, match="would not be understood"):
        written(**{name: value})


VALUE = st.lists(
    st.sampled_from(["<https://a.example/>", "<mailto:a@b>", ", ", "=?utf-8?q?a?=", "auto-generated", "; a=b", "<a.b>"])
    | st.text(max_size=5)
    | st.just("\r\nBcc: x"),
    max_size=5,
).map("".join)


@given(st.sampled_from(["List-Unsubscribe", "List-ID", "Auto-Submitted", "precedence"]), VALUE)
@settings(max_examples=200, deadline=None)
def test_whatever_is_given_becomes_one_field_or_is_refused(name: str, value: str) -> None:
    try:
        raw = compose_bytes(an_email(headers={name: value}))
    except InvalidArgument:
        return
    assert_wire_safe(raw)
    assert [n for n in parsed(raw) if not n.startswith("Content-")].count(name) == 1
    assert "Bcc" not in parsed(raw)
