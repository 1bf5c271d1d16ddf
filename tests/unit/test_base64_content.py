"""Base64 is read as programs hand it over, and nothing is read that may be something else."""

from __future__ import annotations

import base64
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.errors import AttachmentRefused
from outspool.services.acceptance.base64_content import decode_base64, read_media_type

RAW = b"\xfb\xff\xfe\xfa-and-more!"
STANDARD = base64.b64encode(RAW).decode()


@pytest.mark.parametrize(
    "written",
    [
        STANDARD,
        STANDARD.rstrip("="),
        base64.urlsafe_b64encode(RAW).decode(),
        base64.urlsafe_b64encode(RAW).decode().rstrip("="),
        f"{STANDARD[:8]} {STANDARD[8:]}",
        f"{STANDARD[:8]}\t{STANDARD[8:]}\n",
        "\r\n".join(textwrap.wrap(STANDARD, 4)),
        f"data:application/pdf;base64,{STANDARD}",
        f"data:;base64,{STANDARD}",
        f"data:text/plain;charset=utf-8;base64,{STANDARD.rstrip('=')}",
        "data:application/octet-stream,%FB%FF%FE%FA-and-more!",
    ],
)
def test_base64_is_read_however_a_program_writes_it(written: str) -> None:
    assert decode_base64(written, "content") == RAW


@given(st.binary(max_size=200))
def test_every_file_survives_each_alphabet_with_and_without_padding(raw: bytes) -> None:
    for text in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        assert decode_base64(text, "content") == decode_base64(text.rstrip("="), "content") == raw


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("hello world", "cut off, has spaces"),
        ("Hello World 2024 is the text", "cut off, has spaces"),
        ("Dear Bob, hi", 'the character ","'),
        ("https://example.com/a.pdf", "address on the web"),
        ("[137, 80, 78]", "JSON"),
        ("-_+/", "characters of both"),
        (STANDARD[:-3], "cut off"),
        ("data:application/pdf;base64,%%%", 'the character "%"'),
    ],
)
def test_a_refusal_says_what_was_seen(written: str, seen: str) -> None:
    with pytest.raises(AttachmentRefused, match="not base64") as refusal:
        decode_base64(written, "content")
    assert seen in refusal.value.message
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (f"data:application/pdf;base64,{STANDARD}", "application/pdf"),
        ("data:text/csv;charset=utf-8;base64,YQ==", "text/csv; charset=utf-8"),
        ("data:multipart/mixed;base64,YQ==", None),
        ("data:application/octet-stream;base64,YQ==", None),
        ("data:;base64,YQ==", None),
        (STANDARD, None),
    ],
)
def test_a_data_uri_says_the_media_type_of_a_file(written: str, kind: str | None) -> None:
    assert read_media_type(written) == kind
