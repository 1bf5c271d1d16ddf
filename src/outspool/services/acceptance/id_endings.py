"""Ids as a person types them: whole, or by their end, which is random and so tells emails apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from outspool.domain.email import Email
from outspool.errors import InvalidArgument, brief
from outspool.ports.emails import SHORTEST_ENDING

ID_DIGITS = 32
"""Hexadecimal digits of a whole id."""

MOST_CANDIDATES = 5
"""Emails named if an ending fits several."""

_ENDING = re.compile(rf"[0-9a-f]{{{SHORTEST_ENDING},{ID_DIGITS}}}")
_DECORATION = " \t\N{HORIZONTAL ELLIPSIS}."
_SUBJECT_LIMIT = 40


def read_id_ending(text: str) -> str:
    """Return the digits of a whole id or of its end, in lower case. Raises `InvalidArgument`."""
    digits = text.strip(_DECORATION).lower().replace("-", "")
    if not _ENDING.fullmatch(digits):
        raise InvalidArgument(
            f"{brief(text)} is not an email id.",
            f"Give the `id` that list_emails shows, or its last {SHORTEST_ENDING} or more characters.",
        )
    return digits


def too_short_error(ending: str, emails: Sequence[Email]) -> InvalidArgument:
    """Return the error of an ending that fits several emails, with what tells those apart."""
    named = emails[:MOST_CANDIDATES]
    length = _telling_length([email.id.hex for email in named])
    candidates = "; ".join(_describe(email, length) for email in named)
    more = "; and more" if len(emails) > len(named) else ""
    return InvalidArgument(f"{brief(ending)} ends the ids of several emails.", f"Give one of {candidates}{more}.")


def _telling_length(ids: Sequence[str]) -> int:
    """Return how many last digits tell all ids apart."""
    return next(n for n in range(SHORTEST_ENDING, ID_DIGITS + 1) if len({digits[-n:] for digits in ids}) == len(ids))


def _describe(email: Email, length: int) -> str:
    to = email.content.to[0].address if email.content.to else "nobody"
    return f"{email.id.hex[-length:]} ({brief(email.content.subject, _SUBJECT_LIMIT)} to {to}, {email.status})"
