"""Ids that say when: UUIDv7 (RFC 9562 §5.7, §6.2 method 3), so that pages and indexes follow acceptance."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_RANDOM_BITS = 62


def new_id(at: datetime) -> UUID:
    """Return an id for what was accepted at `at` (aware): later microseconds give greater ids."""
    return UUID(int=least_id(at).int | secrets.randbits(_RANDOM_BITS))


def time_of(email_id: UUID) -> datetime:
    """Return when an id of `new_id` was made, to the millisecond. Raises `OverflowError` for another's."""
    return _EPOCH + timedelta(milliseconds=email_id.int >> 80)


def least_id(at: datetime) -> UUID:
    """Return the least id that `new_id` may give for `at` or a later time."""
    milliseconds, microseconds = divmod((at - _EPOCH) // _MICROSECOND, 1000)
    fraction = microseconds * 4096 // 1000  # twelve bits below the millisecond
    return UUID(int=max(milliseconds, 0) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62)
