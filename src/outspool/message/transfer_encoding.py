"""Content-transfer-encodings (RFC 2045 §6): octets as short ASCII lines that no relay has a reason to change.

All lines end in CRLF and have at most 76 columns. Large input is encoded in blocks, because one C call over megabytes
would block every other thread.
"""

from __future__ import annotations

import re
import struct
from binascii import b2a_base64, b2a_qp
from collections.abc import AsyncIterable, AsyncIterator, Iterator

LONGEST_LINE = 76
BYTES_PER_LINE = LONGEST_LINE // 4 * 3
"""Bytes in one line of base64."""
_BLOCK = 256 * BYTES_PER_LINE

_LITERAL = bytes(range(0x20, 0x7F)) + b"\t\n"
_LAST_CHARACTER = re.compile(rb"(=[0-9A-F]{2}|.)\Z")


def encoded_text(raw: bytes, *, is_last: bool = False) -> tuple[str, bytes]:
    """Return the name and result of the most legible encoding that is safe and short, for UTF-8 with LF.

    `is_last`: nothing follows in the message, so its final line end cannot be left out.
    """
    odd = len(raw.translate(None, _LITERAL))
    if not odd and _is_plain(raw) and (raw.endswith(b"\n") or not (is_last and raw)):
        return "7bit", raw.replace(b"\n", b"\r\n")
    if 6 * odd <= len(raw):
        return "quoted-printable", _quoted_printable(raw, is_last=is_last)
    return "base64", base64_lines(raw.replace(b"\n", b"\r\n"))


def base64_lines(raw: bytes) -> bytes:
    """Return `raw` as base64 lines with CRLF, all full except the last.

    Pieces cut at multiples of `BYTES_PER_LINE` can be encoded separately.
    """
    if len(raw) <= _BLOCK:
        return _base64_block(raw)
    return b"".join([_base64_block(raw[start : start + _BLOCK]) for start in range(0, len(raw), _BLOCK)])


async def base64_stream(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield `base64_lines` of the concatenated `chunks`, whole lines at a time."""
    rest = b""
    async for chunk in chunks:
        raw = rest + chunk
        whole = len(raw) - len(raw) % BYTES_PER_LINE
        rest = raw[whole:]
        if whole:
            yield base64_lines(raw[:whole])
    if rest:
        yield base64_lines(rest)


def base64_size(size: int) -> int:
    """Return the number of octets that `base64_lines` makes of `size` bytes."""
    encoded = (size + 2) // 3 * 4
    return encoded + 2 * -(-encoded // LONGEST_LINE)


def _base64_block(raw: bytes) -> bytes:
    encoded = b2a_base64(raw, newline=False)
    whole, rest = divmod(len(encoded), LONGEST_LINE)
    # The quickest way to cut bytes into equal pieces: one call in C.
    lines = struct.unpack(f"{LONGEST_LINE}s" * whole + f"{rest}s", encoded)
    return b"\r\n".join((*lines, b"") if rest else lines)


def _is_plain(raw: bytes) -> bool:
    """Tell whether ASCII can stay as it is: short lines, no trailing space that relays strip, no boundary."""
    return not (
        b" \n" in raw
        or b"\t\n" in raw
        or raw.endswith((b" ", b"\t"))
        or raw.startswith(b"--=_")
        or b"\n--=_" in raw
        or max(map(len, raw.split(b"\n"))) > LONGEST_LINE
    )


def _quoted_printable(raw: bytes, *, is_last: bool) -> bytes:
    return b"".join(_quoted_blocks(raw, is_last=is_last))


def _quoted_blocks(raw: bytes, *, is_last: bool) -> Iterator[bytes]:
    """Yield blocks of quoted-printable.

    A soft line break says that the line continues in the next block or, after the last, that the message's final line
    end is not part of the text.
    """
    end = 0
    for block in _blocks(raw):
        end += len(block)
        encoded = b2a_qp(block, istext=True)
        if end < len(raw) or is_last:
            encoded = _with_soft_break(encoded)
        yield encoded.replace(b"\n", b"\r\n")


def _with_soft_break(encoded: bytes) -> bytes:
    """Return quoted-printable text with a soft line break, unless it ends with a line end."""
    if encoded.endswith(b"\n"):
        return encoded
    head, lf, line = encoded.rpartition(b"\n")
    if len(line) == LONGEST_LINE:
        line = _LAST_CHARACTER.sub(rb"=\n\1", line)
    return b"".join((head, lf, line, b"=\n"))


def _blocks(raw: bytes) -> Iterator[bytes]:
    """Yield `raw` in blocks of whole lines; a very long line is cut."""
    start = 0
    while start < len(raw):
        longest = start + 4 * _BLOCK
        end = raw.find(b"\n", start + _BLOCK, longest) + 1 or min(longest, len(raw))
        yield raw[start:end]
        start = end
