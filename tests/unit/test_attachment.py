from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.domain.attachment import (
    MAX_FILENAME_BYTES,
    UNKNOWN_TYPE,
    check_content_id,
    check_content_type,
    check_filename,
    guess_content_type,
)
from outspool.errors import AttachmentRefused


@pytest.mark.parametrize(
    "name",
    [
        "report.pdf",
        ".env",
        "2026-11-23T09:00.csv",
        "Rechnung Müller & Söhne.pdf",
        "e\u0301.txt",
        "नमस्ते\u200d.txt",
        "a;b'c.txt",
    ],
)
def test_a_plain_name_stays_as_it_is(name: str) -> None:
    assert check_filename(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "../a.txt",
        "/etc/passwd",
        "a/",
        "..\\a",
        "C:\\boot.ini",
        "\\\\host\\share",
        "\uff0e\uff0e\uff0fpasswd",
        "\u2100.txt",
    ],
)
def test_a_name_that_is_a_path_or_looks_like_one_is_refused(name: str) -> None:
    with pytest.raises(AttachmentRefused, match="path"):
        check_filename(name)


@pytest.mark.parametrize(
    "char", [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u2028\u2029\ud800\ufeff\xad"]
)
def test_a_name_with_a_control_character_is_refused(char: str) -> None:
    with pytest.raises(AttachmentRefused, match="does not show"):
        check_filename(f"a{char}b.txt")


@pytest.mark.parametrize("char", "\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_a_name_that_is_shown_in_another_order_than_it_is_written_is_refused(char: str) -> None:
    with pytest.raises(AttachmentRefused, match="does not show"):
        check_filename(f"invoice{char}fdp.exe")


@pytest.mark.parametrize("name", ["", " ", ".", "..", "...", ". .", "a.", "a ", " a", "a.exe ", "a\u00a0", "\uff0e"])
def test_a_name_that_a_file_system_would_change_is_refused(name: str) -> None:
    with pytest.raises(AttachmentRefused, match="no name of a file"):
        check_filename(name)


@pytest.mark.parametrize("name", ["con", "NUL", "aux.txt", "COM1.tar.gz", "lpt¹", "CONIN$", "nul .txt", "\uff43on.txt"])
def test_a_device_of_windows_is_refused(name: str) -> None:
    with pytest.raises(AttachmentRefused, match="something else"):
        check_filename(name)


@pytest.mark.parametrize("name", ["console.txt", "com10.txt", "null.txt", "auxiliary"])
def test_what_merely_begins_like_a_device_is_a_name(name: str) -> None:
    assert check_filename(name) == name


@pytest.mark.parametrize("name", ["=?utf-8?q?x=0D=0ABcc=3A?=.txt", "a =?utf-8?B?Li4v?=", "=?x?q?"])
def test_an_encoded_word_is_refused(name: str) -> None:
    with pytest.raises(AttachmentRefused, match="something else"):
        check_filename(name)


def test_a_long_name_is_shortened_and_keeps_its_extension() -> None:
    short = check_filename("a" * 300 + ".pdf")
    assert len(short) == MAX_FILENAME_BYTES
    assert short.endswith("a.pdf")


def test_a_long_name_is_never_cut_within_a_character() -> None:
    short = check_filename("é" * 300 + ".pdf")
    assert short == "é" * 125 + ".pdf"


def test_what_is_longer_than_an_extension_is_none() -> None:
    assert check_filename("a." + "b" * 300) == "a." + "b" * 253


def test_an_absurd_name_is_refused_and_not_repeated() -> None:
    with pytest.raises(AttachmentRefused) as refused:
        check_filename("x" * 1_000_000)
    assert len(str(refused.value)) < 200


@given(st.text(min_size=1, max_size=400) | st.text("./\\ \u202e\u200d\uff0fcon:=?q\r\n\0é", min_size=1, max_size=300))
def test_every_name_that_is_taken_is_harmless_in_a_header_and_on_a_disk(name: str) -> None:
    try:
        taken = check_filename(name)
    except AttachmentRefused as refused:
        assert "\n" not in str(refused)
        return
    assert 0 < len(taken.encode()) <= 255
    assert not set(taken) & set("/\\\r\n\0")
    assert taken.strip(" .")
    assert not any(unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI"} for c in taken)
    assert check_filename(taken) == taken


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("A.JPG", "image/jpeg"),
        ("a.md", "text/markdown"),
        ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.tar.gz", "application/gzip"),
        ("data:,a.csv", "text/csv"),
        ("mail.eml", UNKNOWN_TYPE),
        ("a", UNKNOWN_TYPE),
        ("a.csv.Z", UNKNOWN_TYPE),
    ],
)
def test_a_type_is_guessed_from_the_extension(name: str, kind: str) -> None:
    assert guess_content_type(name) == kind


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("Application/PDF", "application/pdf"),
        ("text/plain; charset=UTF-8", "text/plain; charset=utf-8"),
        ('text/csv;charset="latin1"', "text/csv; charset=latin1"),
        ("application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    ],
)
def test_a_media_type_is_brought_into_one_form(written: str, kind: str) -> None:
    assert check_content_type(written) == kind


@pytest.mark.parametrize(
    "written",
    [
        *("", "pdf", "/", "a/", "a/b/c", "a b/c", "text/plain\r\nBcc: x@example.com", "text/plain\n", "é/x", "*/*"),
        *("text/plain; name=x", "text/plain; charset=a; boundary=b", 'text/plain; charset="a\\"b"', "a" * 200 + "/b"),
        *("multipart/mixed", "message/rfc822", "MESSAGE/partial"),
    ],
)
def test_what_is_no_media_type_of_a_file_is_refused(written: str) -> None:
    with pytest.raises(AttachmentRefused):
        check_content_type(written)


@pytest.mark.parametrize("written", ["logo", "<logo>", "cid:logo", "<cid:logo>"])
def test_a_content_id_may_be_written_as_in_a_header_or_as_in_html(written: str) -> None:
    assert check_content_id(written) == "logo"


@pytest.mark.parametrize(
    "written", ["", "<>", "a b", "a\r\nb", "a>", "<a", "é", "a%20b", "x" * 201, ".a", "a\n", "a\0"]
)
def test_what_html_cannot_name_is_no_content_id(written: str) -> None:
    with pytest.raises(AttachmentRefused):
        check_content_id(written)
