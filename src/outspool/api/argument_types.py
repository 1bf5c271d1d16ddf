"""The types of arguments: strict, but read as clients write them.

A list, an object or a number may stand as JSON inside a string; 10.0 is the whole number 10.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, FailFast, ValidationInfo, WithJsonSchema

from outspool.api.address_lists import read_mailbox_object, read_python_list, split_addresses
from outspool.domain.json_limits import check_json
from outspool.errors import TooLarge


def read_json(*kinds: type) -> Callable[[object], object]:
    """Return a validator that parses a string with JSON of one of `kinds`, and leaves other values."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        check_json(value.encode("utf-8", "surrogatepass"))
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed if isinstance(parsed, kinds) and not isinstance(parsed, bool) else value

    return read


def _check_entries(value: object, info: ValidationInfo) -> object:
    """Reject too many entries before validation: pydantic keeps a kilobyte for each wrong one."""
    if isinstance(value, (list, dict)) and len(value) > _MOST_ENTRIES:
        raise TooLarge(f"{info.field_name} has {len(value):,} entries; {_MOST_ENTRIES:,} is the most.", "Give fewer.")
    return value


def limit_names(value: object) -> object:
    """Drop entries beyond the limit of an object with too many, enough to report unknown names."""
    return dict(islice(value.items(), _MOST_NAMES)) if isinstance(value, dict) else value


def _read_flag(value: object) -> object:
    """Parse a boolean written as a word."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _read_whole(value: object) -> object:
    """Read 10.0 as 10: to JSON Schema it is an integer."""
    parsed = read_json(int, float)(value)
    return int(parsed) if isinstance(parsed, float) and parsed.is_integer() else parsed


def _read_list(value: object) -> object:
    """Accept a string for a list of one, and a list as Python writes it."""
    parsed = read_json(list)(value)
    if not isinstance(parsed, str):
        return parsed
    return read_python_list(parsed) or [parsed]


def read_objects(value: object) -> object:
    """Accept an object for a list of one."""
    parsed = read_json(list, dict)(value)
    return [parsed] if isinstance(parsed, dict) else parsed


def read_word(value: object) -> object:
    """Accept one of a few words in any case."""
    return value.strip().lower() if isinstance(value, str) and len(value) <= _LONGEST_WORD else value


def _read_addresses(value: object) -> object:
    """Accept addresses as objects, and several in one string."""
    parsed = read_json(list, dict)(value)
    if isinstance(parsed, str):
        return read_python_list(parsed) or split_addresses(parsed)
    items = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(items, list) or len(items) > _MOST_ENTRIES:
        return items
    return [read_mailbox_object(item) for item in items]


_MOST_ENTRIES = 10_000
"""Entries of one list or object; the limits of mail are lower and have their own errors."""
_MOST_NAMES = 50
_LONGEST_WORD = 50


class _FirstError(FailFast):
    """Stops at the first wrong entry of a list. Pydantic's own class is not hashable, which ``| None`` needs."""

    def __hash__(self) -> int:
        """Return a constant, because all instances are equal."""
        return hash(_FirstError)


FIRST_ERROR = _FirstError()
LimitedEntries = BeforeValidator(_check_entries)
"""Put this before the validator that parses strings: pydantic runs the last one first."""

Strings = Annotated[list[str], FIRST_ERROR, LimitedEntries, BeforeValidator(_read_list)]
Addresses = Annotated[list[str], FIRST_ERROR, LimitedEntries, BeforeValidator(_read_addresses)]
OneOrMoreAddresses = Annotated[
    Addresses, WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]})
]
Headers = Annotated[dict[str, str], LimitedEntries, BeforeValidator(read_json(dict))]
Variables = Annotated[dict[str, Any], BeforeValidator(read_json(dict))]
Priority = Annotated[Literal["low", "normal", "high"], BeforeValidator(read_word)]


Flag = Annotated[bool, BeforeValidator(_read_flag)]
Whole = Annotated[int, BeforeValidator(_read_whole)]
Seconds = Annotated[float, BeforeValidator(read_json(int, float))]
