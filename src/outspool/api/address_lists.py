"""Reads addresses as clients and models hand them over: objects, a list as Python prints it, several in one string."""

from __future__ import annotations

import ast
from collections.abc import Mapping

_LONGEST = 100_000
_ADDRESS_KEYS = ("email", "address", "mail", "email_address", "emailAddress", "value")
_NAME_KEYS = ("name", "display_name", "displayName", "label")


def read_python_list(text: str) -> list[str]:
    """Return the strings of ``['a', 'b']``, a list as Python prints it; empty if `text` is something else."""
    text = text.strip()
    if len(text) > _LONGEST or "\\" in text or text[:1] + text[-1:] not in ("[]", "()"):
        return []
    try:
        items = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    is_list = isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items)
    return list(items) if is_list else []


def split_addresses(text: str) -> list[str]:
    """Split several addresses in one string; a string in which a comma may belong to a name stays whole.

    Where semicolons or lines separate them, commas belong to names.
    """
    if len(text) > _LONGEST:
        return [text]
    text = text.strip(" ,;\n")
    for separators in (";\n", ",;\n"):
        parts = _split(text, separators)
        if len(parts) > 1 and all(part.count("@") == 1 for part in parts):
            return parts
    return [text]


def _split(text: str, separators: str) -> list[str]:
    """Split at separators outside of quotes, and leave out empty parts."""
    parts, start, is_quoted = [], 0, False
    for place, char in enumerate(text):
        is_quoted ^= char == '"'
        if char in separators and not is_quoted:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def read_mailbox_object(item: object) -> object:
    """Return ``{"email": …, "name": …}`` as ``"name" <email>``; a value that is not clearly a mailbox unchanged."""
    if not isinstance(item, Mapping):
        return item
    inner = item.get("emailAddress")  # as Microsoft Graph nests it
    fields = inner if isinstance(inner, Mapping) else item
    given = {key: value for key, value in fields.items() if value not in (None, "")}
    addresses = [given.pop(key) for key in _ADDRESS_KEYS if key in given]
    names = [given.pop(key) for key in _NAME_KEYS if key in given]
    is_mailbox = not given and len(addresses) == 1 and len(names) <= 1
    if not is_mailbox or not all(isinstance(text, str) for text in addresses + names):
        return item
    if not names:
        return addresses[0]
    name = names[0].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{addresses[0]}>'
