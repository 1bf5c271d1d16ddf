"""Encodings preserve their input, and match the standard library's."""

from __future__ import annotations

import base64
import quopri

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outspool.message.transfer_encoding import BYTES_PER_LINE, base64_lines, base64_size, encoded_text

BLOCK = 256 * BYTES_PER_LINE


@given(st.binary(max_size=400) | st.integers(BLOCK - 60, BLOCK + 60).map(bytes))
@example(b"")
@example(bytes(BLOCK))
@example(bytes(3 * BLOCK + 1))
@settings(deadline=None)
def test_base64_is_the_standard_librarys_with_the_line_ends_of_mail(raw: bytes) -> None:
    encoded = base64_lines(raw)
    assert encoded == base64.encodebytes(raw).replace(b"\n", b"\r\n")
    assert len(encoded) == base64_size(len(raw))


@given(st.binary(max_size=600), st.integers(1, 5))
def test_base64_of_pieces_that_fill_their_lines_is_that_of_the_whole(raw: bytes, lines: int) -> None:
    step = lines * BYTES_PER_LINE
    pieces = (raw[start : start + step] for start in range(0, len(raw), step))
    assert b"".join(map(base64_lines, pieces)) == base64_lines(raw)


def decoded(encoding: str, body: bytes) -> bytes:
    """Return what the standard library reads in a body that others follow or that ends with a line."""
    if encoding == "base64":
        return base64.b64decode(body)
    return quopri.decodestring(body) if encoding == "quoted-printable" else body


@given(
    st.text("xé =.\n\t-_日", max_size=200).map(str.encode) | st.text(st.characters(codec="utf-8")).map(str.encode),
    st.booleans(),
)
@example(b"x" * 76, True)
@example(b"x" * 73 + "é".encode(), True)
@settings(max_examples=300, deadline=None)
def test_a_text_is_decoded_as_it_was(raw: bytes, is_last: bool) -> None:
    raw = raw.replace(b"\r", b"")
    encoding, body = encoded_text(raw, is_last=is_last)
    assert decoded(encoding, body) == raw.replace(b"\n", b"\r\n")
    assert body.isascii()
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert body.endswith(b"\r\n") or not (is_last and raw)


@pytest.mark.parametrize("raw", [b"", b"Hi\n", b"x" * 76 + b"\n", b"a\tb\n", b"From here\n", b".\n", b"\n\n"])
def test_what_no_relay_would_change_stays_legible(raw: bytes) -> None:
    assert encoded_text(raw, is_last=True) == ("7bit", raw.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize(
    "raw",
    [
        b"x" * 77 + b"\n",
        b"a \n",
        b"a\t\n",
        b"a ",
        b"a\n--=_",
        b"--=_\n",
        b"NUL: \0\n",
        b"DEL: \x7f\n",
        "on verra là-bas\n".encode(),
    ],
)
def test_what_a_relay_or_a_reader_might_change_is_encoded(raw: bytes) -> None:
    assert encoded_text(raw, is_last=False)[0] == "quoted-printable"
