"""UUIDv7 ids (RFC 9562 §5.7, §6.2 method 3), which grow with the time of acceptance."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RANDOM_BITS = 62


def new_id(at: datetime) -> UUID:
    """Return an id for the time `at` (aware); a later microsecond gives a greater id."""
    return UUID(int=least_id(at).int | secrets.randbits(_RANDOM_BITS))


def time_of(email_id: UUID) -> datetime:
    """Return the time of an id in milliseconds. Raises `OverflowError` for a foreign id."""
    return _EPOCH + timedelta(milliseconds=email_id.int >> 80)


def least_id(at: datetime) -> UUID:
    """Return the least id that `new_id` can give at `at` or later."""
    milliseconds, microseconds = divmod((at - _EPOCH) // _MICROSECOND, 1000)
    fraction = microseconds * 4096 // 1000  # twelve bits below the millisecond
    return UUID(int=max(milliseconds, 0) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62)
