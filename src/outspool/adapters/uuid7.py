"""New ids."""

from __future__ import annotations

from uuid import UUID

import uuid_utils


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562 §5.7): ids grow with time, so pages and indexes follow acceptance."""
    return UUID(int=uuid_utils.uuid7().int)
