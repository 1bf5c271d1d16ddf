"""How much JSON one call may hold, found out before it is parsed.

A parser makes an object of some 60 bytes of each ``[]``, and a validator an error of a kilobyte of each value that is
wrong, so a few megabytes of values could become gigabytes. Their number and depth are counted in the text itself, in
linear time and without memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from outspool.errors import TooLarge

MAX_VALUES = 50_000
"""Values in one call: lists, objects, and what is in them. A table of 10,000 rows and four columns has as many."""

MAX_DEPTH = 64
"""Lists and objects inside one another."""

MAX_REQUEST_BYTES = 40 * 1024 * 1024
"""Above the largest message, so that one that is a little too large is refused by what it is."""

_CHUNK = 256 * 1024
"""Bytes that are looked at in one go: nobody else runs meanwhile."""
_BETWEEN = bytes(set(range(256)) - set(b"[]{},"))

_MEGABYTE = 1024 * 1024


def check_json(data: bytes) -> None:
    """Raise `TooLarge` when the JSON in `data` holds more than `MAX_VALUES` values, or deeper ones than `MAX_DEPTH`.

    What is no JSON may be refused or not; it takes no longer either way.
    """
    opened = data.count(b"[") + data.count(b"{")
    if opened <= MAX_DEPTH and data.count(b",") + opened < MAX_VALUES:
        return  # the most there could be, wherever they stand
    depth = values = 0
    for marks in _marks(data):
        values += len(marks) - marks.count(b"]") - marks.count(b"}")
        if values > MAX_VALUES:
            raise too_many()
        for mark in marks.translate(None, b","):
            depth += 1 if mark in b"[{" else -1
            if depth > MAX_DEPTH:
                raise too_deep()


def _marks(data: bytes) -> Iterator[bytes]:
    """Yield the brackets, braces and commas of `data` that stand in no string."""
    rest, in_string = b"", 0
    for start in range(0, len(data), _CHUNK):
        chunk = (rest + data[start : start + _CHUNK]).replace(rb"\\", b"")
        rest = b"\\" if chunk.endswith(b"\\") else b""  # it belongs to what begins the next chunk
        parts = chunk.removesuffix(b"\\").replace(rb"\"", b"").split(b'"')
        yield b"".join(parts[in_string::2]).translate(None, _BETWEEN)
        in_string ^= (len(parts) - 1) & 1


def check_values(value: object) -> None:
    """Raise `TooLarge` as `check_json` does, for values that are parsed."""
    values, level = 0, [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, (dict, list)):
                values += max(len(one), 1)  # as many as its commas and itself
                inner += one.values() if isinstance(one, dict) else one
            if values > MAX_VALUES:
                raise too_many()
        level = [one for one in inner if isinstance(one, (dict, list))]
        if not level:
            return
    raise too_deep()


def too_many() -> TooLarge:
    """Return the error for a call of more than `MAX_VALUES` values."""
    return TooLarge(f"The call holds too many values; {MAX_VALUES:,} is the most.", "Give less. Nothing was done.")


def too_deep() -> TooLarge:
    """Return the error for a call that is deeper than `MAX_DEPTH`."""
    return TooLarge(
        f"The call holds lists or objects more than {MAX_DEPTH} levels deep.", "Give flat ones. Nothing was done."
    )


def too_long() -> TooLarge:
    """Return the error for a call of more than `MAX_REQUEST_BYTES`."""
    return TooLarge(
        f"The call is longer than {MAX_REQUEST_BYTES // _MEGABYTE} MB.",
        "Attach smaller files, or fewer. Nothing was done.",
    )


def too_much() -> TooLarge:
    """Return the error for a call of which nobody says any more what is too much in it."""
    return TooLarge(
        f"The call holds more than {MAX_VALUES:,} values, {MAX_DEPTH} levels or {MAX_REQUEST_BYTES // _MEGABYTE} MB.",
        "Give less. Nothing was done.",
    )
