"""Limits the number and depth of JSON values in a call, before it is parsed.

A parser makes an object of some 60 bytes for each ``[]``, and a validator an error of a kilobyte for each wrong value,
so a few megabytes of values could become gigabytes. They are counted in the text itself, in linear time and constant
memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from outspool.errors import TooLarge

MAX_VALUES = 50_000
"""Values in one call, nested ones included: as many as a table of 10,000 rows and four columns has."""

MAX_DEPTH = 64
"""Nesting depth of lists and objects."""

MAX_REQUEST_BYTES = 40 * 1024 * 1024
"""Larger than the largest message, so that a slightly too large message gets the more specific error."""

_CHUNK = 256 * 1024
"""Bytes scanned before other tasks run."""
_BETWEEN = bytes(set(range(256)) - set(b"[]{},"))

_MEGABYTE = 1024 * 1024


def check_json(data: bytes) -> None:
    """Raise `TooLarge` if the JSON has more than `MAX_VALUES` values or is nested deeper than `MAX_DEPTH`.

    Invalid JSON may pass; it takes no longer either way.
    """
    opened = data.count(b"[") + data.count(b"{")
    if opened <= MAX_DEPTH and data.count(b",") + opened < MAX_VALUES:
        return  # even the upper bound is within the limit
    depth = values = 0
    for marks in _find_punctuation(data):
        values += len(marks) - marks.count(b"]") - marks.count(b"}")
        if values > MAX_VALUES:
            raise too_many()
        for mark in marks.translate(None, b","):
            depth += 1 if mark in b"[{" else -1
            if depth > MAX_DEPTH:
                raise too_deep()


def _find_punctuation(data: bytes) -> Iterator[bytes]:
    """Yield the brackets, braces and commas of `data` outside of strings."""
    carry, in_string = b"", 0
    for start in range(0, len(data), _CHUNK):
        chunk = (carry + data[start : start + _CHUNK]).replace(rb"\\", b"")
        carry = b"\\" if chunk.endswith(b"\\") else b""  # it escapes the first character of the next chunk
        parts = chunk.removesuffix(b"\\").replace(rb"\"", b"").split(b'"')
        yield b"".join(parts[in_string::2]).translate(None, _BETWEEN)
        in_string ^= (len(parts) - 1) & 1


def check_values(value: object) -> None:
    """Raise `TooLarge` as `check_json` does, for parsed values."""
    values, level = 0, [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, (dict, list)):
                values += max(len(item), 1)  # counted as in the text: one, plus one per comma
                inner += item.values() if isinstance(item, dict) else item
            if values > MAX_VALUES:
                raise too_many()
        level = [item for item in inner if isinstance(item, (dict, list))]
        if not level:
            return
    raise too_deep()


def too_many() -> TooLarge:
    """Return the error for more than `MAX_VALUES` values."""
    return TooLarge(f"The call holds too many values; {MAX_VALUES:,} is the most.", "Give less. Nothing was done.")


def too_deep() -> TooLarge:
    """Return the error for nesting deeper than `MAX_DEPTH`."""
    return TooLarge(
        f"The call holds lists or objects more than {MAX_DEPTH} levels deep.", "Give flat ones. Nothing was done."
    )


def too_long() -> TooLarge:
    """Return the error for more than `MAX_REQUEST_BYTES`."""
    return TooLarge(
        f"The call is longer than {MAX_REQUEST_BYTES // _MEGABYTE} MB.",
        "Attach smaller files, or fewer. Nothing was done.",
    )


def too_much() -> TooLarge:
    """Return the error for a call whose exact excess is not known."""
    return TooLarge(
        f"The call holds more than {MAX_VALUES:,} values, {MAX_DEPTH} levels or {MAX_REQUEST_BYTES // _MEGABYTE} MB.",
        "Give less. Nothing was done.",
    )
