"""Header lines, bodies, message ids, custom headers and tags cannot become something else."""

from __future__ import annotations

import base64
import time
import unicodedata
from collections.abc import Callable, Mapping
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.hostile_inputs import (
    CONTROLS,
    ENCODED_WORDS,
    HEADER_NAMES,
    HEADERS,
    NO_MESSAGE_ID,
    PLAIN_ENCODED_WORDS,
    by_words,
)

from outspool.domain.message_ids import check_message_ids, message_id
from outspool.domain.text import check_body, check_header_line, check_headers, tags
from outspool.errors import InvalidAddress, InvalidArgument


def _word(text: str, charset: str = "utf-8", encoding: str = "q") -> str:
    """Return an encoded word that means `text`, every byte escaped."""
    raw = text.encode(charset)
    payload = "".join(f"={byte:02X}" for byte in raw) if encoding in "qQ" else base64.b64encode(raw).decode()
    return f"=?{charset}?{encoding}?{payload}?="


def _read(line: str) -> str:
    """Return `line` as the standard library's own decoder shows it."""
    parts = decode_header(line)
    return "".join(
        part if isinstance(part, str) else part.decode(charset or "latin-1", "replace") for part, charset in parts
    )


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    "text", ["", "Hello", "Grüße aus Köln", "価格 100%", "a=b? c", "=?", "=?x", "tab\\tless", "👩‍👩‍👧", " x "]
)
def test_a_plain_header_line_is_kept_as_it_is(text: str) -> None:
    assert check_header_line(text, "subject") == text


@pytest.mark.parametrize("char", CONTROLS)
def test_no_control_character_is_taken_into_a_header(char: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid_argument: subject holds"):
        check_header_line(f"before{char}after", "subject")


@pytest.mark.parametrize("text", [*ENCODED_WORDS, _word(_word("\r\n")), f"{_word('=?utf-8?q?=0')} {_word('A?=')}"])
def test_no_encoded_word_hides_a_control_character(text: str) -> None:
    with pytest.raises(InvalidArgument, match="subject holds an encoded word"):
        check_header_line(text, "subject")


@pytest.mark.parametrize("text", PLAIN_ENCODED_WORDS)
def test_an_encoded_word_with_plain_text_is_taken(text: str) -> None:
    assert check_header_line(text, "subject") == text


_PIECES = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        [
            "=?",
            "?=",
            "utf-8",
            "?q?",
            "?b?",
            "=0D",
            "=0A",
            "=C2",
            "=85",
            "DQo=",
            " ",
            "=3D=3F",
            "=?utf-8?q?",
            "\r\nBcc: e@x",
        ]
    ),
    st.builds(
        _word,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
        st.sampled_from(["utf-8", "utf-16", "utf-7"]),
        st.sampled_from("qQbB"),
    ),
)


@given(st.lists(_PIECES, max_size=8).map("".join))
@example("=?utf-8?q?=3D=3Futf-8=3Fq=3F=3D0A=3F=3D?=")
def test_no_accepted_text_contains_a_control_character_even_decoded(text: str) -> None:
    try:
        accepted = check_header_line(text, "subject")
    except InvalidArgument as refusal:
        assert not any(map(_is_control, str(refusal)))
        return
    assert not any(map(_is_control, accepted))
    assert not any(map(_is_control, _read(accepted)))
    assert not any(map(_is_control, _read(_read(accepted))))


@given(st.lists(_PIECES, max_size=8).map("".join))
def test_no_accepted_text_becomes_a_second_header_in_a_message(text: str) -> None:
    try:
        accepted = check_header_line(text, "subject")
    except InvalidArgument:
        return
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = accepted
    message.set_content("body")
    again = message_from_bytes(message.as_bytes(), policy=policy.SMTP)
    assert sorted(again.keys()) == sorted(message.keys())
    assert "Bcc" not in again
    assert again.get_content().strip() == "body"


def test_the_limit_is_the_last_length_accepted() -> None:
    assert check_header_line("x" * 998, "subject")
    with pytest.raises(InvalidArgument, match=r"^invalid_argument: subject is 999 characters long; 998 is the most\."):
        check_header_line("x" * 999, "subject")


def test_an_absurd_length_is_refused_without_reading_the_text() -> None:
    absurd = "=?utf-8?q?" * 1_000_000

    def cost(text: str) -> float:
        start = time.perf_counter()
        with pytest.raises(InvalidArgument):
            check_header_line(text, "subject")
        return time.perf_counter() - start

    # A ratio, not a time: ten thousand times the text may not cost even a hundred times as much.
    assert min(cost(absurd) for _ in range(5)) < 100 * min(cost(absurd[:1000]) for _ in range(5))


def test_a_line_crowded_with_encoded_words_is_read_to_its_end() -> None:
    with pytest.raises(InvalidArgument):
        check_header_line(("=?a?q?" * 166) + "?=", "subject")


def test_the_error_class_is_the_callers_choice() -> None:
    with pytest.raises(InvalidAddress):
        check_header_line("\n", "to", 10, InvalidAddress)


@pytest.mark.parametrize(
    "text", ["", "a\tb\nc\r\nd", ".\r\n.\r\nQUIT", "\u2028", "=?utf-8?q?=0A?=", "👍", "\ufeff", "Bcc: x@y.com\n\n"]
)
def test_a_body_may_say_anything(text: str) -> None:
    assert check_body(text, "body") == text


@pytest.mark.parametrize("char", ["\x00", "\x08", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\ud83d"])
def test_a_body_with_a_character_that_mail_cannot_carry_is_refused(char: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid_argument: html holds .* at character 3\."):
        check_body(f"ok{char}", "html")


@given(st.text(st.characters()))
def test_a_body_is_kept_whole_or_refused(text: str) -> None:
    try:
        assert check_body(text, "body") == text
    except InvalidArgument:
        assert any(_is_control(c) for c in text)
    else:
        assert not any(_is_control(c) for c in text.translate(dict.fromkeys(map(ord, "\t\n\r\u2028\u2029"))))


@pytest.mark.parametrize("text", ["<a@b>", "a@b", " <a@b> ", "<a@[1.2.3.4]>", "<CAF+=x-1@mail.example.com>"])
def test_a_message_id_gets_its_angle_brackets(text: str) -> None:
    assert message_id(text, "in_reply_to") == f"<{text.strip(' <>')}>"


@pytest.mark.parametrize("text", NO_MESSAGE_ID)
def test_what_is_no_message_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid_argument: in_reply_to"):
        message_id(text, "in_reply_to")


def test_a_message_id_fits_on_a_line_of_its_own() -> None:
    assert len(message_id(f"{'a' * 993}@b", "in_reply_to")) == 997


def test_of_too_many_references_the_first_and_the_last_ones_are_kept() -> None:
    ids = [f"<m{n}@b>" for n in range(120)]
    assert check_message_ids(ids, "references") == ("<m0@b>", *ids[21:])
    assert check_message_ids([" ".join(ids)], "references") == ("<m0@b>", *ids[21:])


@pytest.mark.parametrize(
    "written",
    [
        ["<a@b> <c@d>"],
        ["<a@b>\r\n <c@d>"],
        ["<a@b>\n<c@d>\n"],
        ["<a@b><c@d>"],
        ["<a@b>,<c@d>"],
        ["a@b c@d"],
        ["a@b", "<c@d>", "<a@b>"],
        ["\t<a@b>\t", "<c@d>\r\n"],
    ],
)
def test_references_are_split_as_a_header_writes_them(written: list[str]) -> None:
    assert check_message_ids(written, "references") == ("<a@b>", "<c@d>")


@pytest.mark.parametrize("written", ["<ABCDEF0123456789>", "ABCDEF0123456789", "<ABCDEF0123456789>\r\n"])
def test_a_message_id_without_an_at_is_taken_as_it_is(written: str) -> None:
    assert message_id(written, "in_reply_to") == "<ABCDEF0123456789>"
    assert check_message_ids([written], "references") == ("<ABCDEF0123456789>",)


def test_the_id_of_an_email_of_ours_is_no_message_id_and_the_refusal_says_which_one_is() -> None:
    with pytest.raises(InvalidArgument, match=r"is an email's id, not its message-id. Give its message_id"):
        message_id("01a222f0-162d-72cc-9173-cd8aa91c748a", "in_reply_to")


def test_custom_headers_keep_their_names_and_values() -> None:
    asked = {"X-Campaign": "Frühling", "list-unsubscribe": "<mailto:u@example.com>", "Auto-Submitted": "auto-generated"}
    assert check_headers(asked) == asked


@pytest.mark.parametrize(("headers", "why"), [*HEADERS, *(({name: "x"}, why) for name, why in by_words(HEADER_NAMES))])
def test_a_header_that_is_not_the_callers_to_write_is_refused(headers: Mapping[str, str], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why) as refusal:
        check_headers(headers)
    assert len(str(refusal.value)) < 300


def test_tags_are_kept_once_in_order() -> None:
    assert tags(["b", "a", "b", "Q3:x_y-z.1"]) == ("b", "a", "Q3:x_y-z.1")


@pytest.mark.parametrize("values", [[""], ["a b"], ["a" * 51], ["ä"], ["a\n"], [str(i) for i in range(11)]])
def test_what_is_no_tag_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidArgument, match=r"^invalid_argument: tags"):
        tags(values)


@pytest.mark.parametrize(
    "read",
    [
        lambda t: check_header_line(t, "f"),
        lambda t: check_body(t, "f"),
        lambda t: message_id(t, "f"),
        lambda t: tags([t]),
        lambda t: check_headers({t: t}),
    ],
)
@given(text=st.text(st.characters()))
def test_no_text_does_anything_but_pass_or_be_refused_in_one_line(read: Callable[[str], object], text: str) -> None:
    try:
        read(text)
    except InvalidArgument as refusal:
        assert not any(map(_is_control, str(refusal)))
        assert len(str(refusal)) < 400
