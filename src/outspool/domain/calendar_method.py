"""The `method` of a calendar file's media type, which must be that of the file (RFC 6047 §2.4)."""

from __future__ import annotations

import re

from outspool.errors import AttachmentRefused

_METHOD_LINE = re.compile(
    rb"^METHOD(?:;[^:\r\n]*)?:([A-Za-z][A-Za-z0-9-]{0,39})[ \t]*\r?$", re.MULTILINE | re.IGNORECASE
)
_METHOD = re.compile(r"; method=([A-Za-z0-9-]+)")
CALENDAR = "text/calendar"


def is_calendar(content_type: str) -> bool:
    """Tell whether a media type is that of a calendar file."""
    return content_type.partition(";")[0] == CALENDAR


def add_method(content_type: str, beginning: bytes, field: str) -> str:
    """Return the media type of a calendar file with its method and charset; other types unchanged.

    `beginning` is enough of the file to hold its ``METHOD:`` line. Raises `AttachmentRefused` if a method is given that
    is not the file's.
    """
    if not is_calendar(content_type):
        return content_type
    if "; charset=" not in content_type:
        bare, *others = content_type.split("; ")
        content_type = "; ".join([bare, "charset=utf-8", *others])  # RFC 5545 §3.1.4
    line = _METHOD_LINE.search(beginning)
    if line is None:
        return content_type
    method = line[1].decode().upper()
    given = _METHOD.search(content_type)
    if given is None:
        return f"{content_type}; method={method}"
    if given[1].upper() != method:
        raise AttachmentRefused(
            f"{field}.content_type says method={given[1]}, and the file says METHOD:{method}.",
            "Leave method out, or make both the same.",
        )
    return content_type
