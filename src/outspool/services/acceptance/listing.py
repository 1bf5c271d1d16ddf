"""Validates the filters of `list_emails`, and encodes its cursors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, TypedDict, Unpack
from uuid import UUID

from outspool.domain.address import parse_mailbox
from outspool.domain.email import Email
from outspool.domain.refusals import RefusalCollector
from outspool.domain.status import UNREACHED, EmailStatus
from outspool.errors import InvalidAddress, InvalidArgument, brief
from outspool.ports.emails import Search

MOST_PER_PAGE = 100


class Filters(TypedDict, total=False):
    """Filters as the caller gives them; None or absent means any. Times are ISO 8601 with offset."""

    status: str | None
    recipient: str | None
    query: str | None
    tag: str | None
    series: str | None
    created_after: str | None
    created_before: str | None
    limit: int
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One page, newest first; `next_cursor` is None on the last. `counts` cover everything in scope."""

    emails: tuple[Email, ...]
    next_cursor: str | None
    counts: Mapping[EmailStatus, int]


def read_search(**filters: Unpack[Filters]) -> Search:
    """Validate filters; raises `InvalidArgument`, naming each that is wrong."""
    faults = RefusalCollector()
    read: dict[str, Any] = {}
    for name, value in {"limit": 20, **filters}.items():
        with faults.collect():
            read["before_id" if name == "cursor" else name] = None if value is None else _READERS[name](value)
    faults.raise_any()
    return Search(**read)


def read_email_id(text: str) -> UUID:
    """Parse an email id; raises `InvalidArgument`."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument(
            f"{brief(text)} is not an email id.", "Use the `id` that send_email or list_emails returned."
        ) from None


def write_cursor(last: UUID) -> str:
    """Return the cursor of the page after the email `last`; opaque to callers."""
    return last.hex


def _read_cursor(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        raise InvalidArgument("cursor is not one of ours.", "Use `next_cursor` as it was returned.") from None


def _read_status(text: str | None) -> EmailStatus | None:
    if text is None:
        return None
    try:
        return EmailStatus(text)
    except ValueError:
        known = ", ".join(status for status in EmailStatus if status not in UNREACHED)
        raise InvalidArgument(f"status {brief(text)} is unknown.", f"Use one of {known}.") from None


_LONGEST_TEXT = 998


def _read_text(text: str | None, field: str) -> str | None:
    if text is None:
        return None
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise InvalidArgument(f"{field} is too long or holds control characters.", "Give a short plain text.")
    return text.strip() or None


def _read_recipient(text: str | None) -> str | None:
    """Return an address as it is stored, e.g. quoted. Raises `InvalidArgument` for a part of one, or a name."""
    recipient = _read_text(text, "recipient")
    if recipient is None:
        return None
    if "@" not in recipient:
        raise InvalidArgument(
            f"recipient {brief(recipient)} is not an address, and names are not searched.",
            "Give the whole address, like ada@example.com; query searches subjects.",
        )
    with suppress(InvalidAddress):
        return parse_mailbox(recipient, "recipient", internal=None).address
    return recipient


def _read_time(text: str | None, field: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidArgument(f"{field} {brief(text)} is not a time with an offset.", "Write it like 2026-01-31T09:00:00Z.")


def _read_limit(limit: int) -> int:
    if not 1 <= limit <= MOST_PER_PAGE:
        raise InvalidArgument(f"limit must be 1 to {MOST_PER_PAGE}.", "Use next_cursor for more.")
    return limit


_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "status": _read_status,
        "recipient": _read_recipient,
        "query": lambda text: _read_text(text, "query"),
        "tag": lambda text: _read_text(text, "tag"),
        "series": read_email_id,
        "created_after": lambda text: _read_time(text, "created_after"),
        "created_before": lambda text: _read_time(text, "created_before"),
        "limit": _read_limit,
        "cursor": _read_cursor,
    }
)
