"""Reads message-ids (RFC 5322 §3.6.4) as headers, mail programs and models hand them over."""

from __future__ import annotations

import re
from collections.abc import Sequence

from outspool.domain.text import check_header_line
from outspool.errors import InvalidArgument, brief

MAX_MESSAGE_ID = 997
"""Characters of one message-id: it cannot be folded, and its line may begin with one space."""

MAX_REFERENCES = 100
"""Message-ids that are sent; of more, the middle ones are dropped."""

_MOST_TEXT = 100_000
"""Characters of one text with several message-ids."""

_MESSAGE_ID = re.compile(r"[!-;=?-~]+")
_BRACKETED = re.compile(r"<[^<>]+>")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BETWEEN = re.compile(r"[ \t\r\n,]+|(?<=>)(?=<)")
_AROUND = " \t\r\n"


def message_id(value: str, field: str) -> str:
    """Return the message-id as ``<left@right>``; the angle brackets may be left out.

    An id without ``@`` is taken as it is, because it only has to match the other email's. White space and line ends
    around it are dropped. Raises `InvalidArgument` for anything else.
    """
    ids = _split(value, field)
    if len(ids) > 1:
        raise InvalidArgument(
            f"{field}: {brief(value)} is not one message-id but {len(ids)}.", "Give that of the email answered."
        )
    return _read(ids[0], field)


def check_message_ids(values: Sequence[str], field: str) -> tuple[str, ...]:
    """Return the ids of `values`, each of which may be a whole header value with several ids.

    Of more than `MAX_REFERENCES` the first and the last ones are kept, as RFC 5322 §3.6.4 lets a reply do. Raises
    `InvalidArgument` as `message_id` does.
    """
    ids = tuple(dict.fromkeys(_read(one, field) for value in values for one in _split(value, field)))
    return ids if len(ids) <= MAX_REFERENCES else (ids[0], *ids[1 - MAX_REFERENCES :])


def _split(value: str, field: str) -> list[str]:
    """Split a header value into its ids; a text that is no list of ids stays whole."""
    if len(value) > _MOST_TEXT:
        raise InvalidArgument(f"{field} is {len(value):,} characters long; {_MOST_TEXT:,} is the most.", "Shorten it.")
    text = value.strip(_AROUND)
    parts = [part for part in _BETWEEN.split(text) if part]
    is_list = len(parts) > 1 and all("@" in part or _BRACKETED.fullmatch(part) for part in parts)
    return parts if is_list else [text]


def _read(text: str, field: str) -> str:
    inner = check_header_line(text, field)
    if inner.startswith("<") and inner.endswith(">"):
        inner = inner[1:-1].strip(" ")
    if not _MESSAGE_ID.fullmatch(inner):
        raise InvalidArgument(
            f"{field}: {brief(text)} is not one message-id.", "Write it like <left@right>, in ASCII without spaces."
        )
    if _UUID.fullmatch(text):
        raise InvalidArgument(
            f"{field}: {brief(text)} is an email's id, not its message-id.", "Give its message_id: get_status has it."
        )
    if len(inner) + 2 > MAX_MESSAGE_ID:
        raise InvalidArgument(f"{field}: {brief(text)} is longer than {MAX_MESSAGE_ID} characters.")
    return f"<{inner}>"
