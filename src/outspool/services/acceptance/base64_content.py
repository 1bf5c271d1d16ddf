"""Decodes base64 as programs hand it over: with line breaks, without padding, as base64url, as a ``data:`` URI.

Only what leaves no doubt is read: words of plain text may look like base64, and would become rubbish.
"""

from __future__ import annotations

import binascii
import re
from urllib.parse import unquote_to_bytes

from outspool.domain.attachment import UNKNOWN_TYPE, check_content_type
from outspool.errors import AttachmentRefused, brief

_DATA_URI = re.compile(r"data:(?P<type>[^,;\s]*)(?P<parameters>(?:;[^,;]*)*),", re.IGNORECASE)
_LONGEST_PREFIX = 500
_WHITE = re.compile(r"\s+")
_LINE_BREAKS = re.compile(r"\r?\n")
_ODD_BITS = {2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""By what a length leaves over four: the last characters whose unused bits are zero, as every encoder writes them."""
_QUANTUM = 4
_WEB_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_FOREIGN = re.compile(r"[^A-Za-z0-9+/=_\s-]")


def read_media_type(content: str) -> str | None:
    """Return the media type of a ``data:`` URI that an attachment may have; None if there is none."""
    found = _DATA_URI.match(content[:_LONGEST_PREFIX])
    if not found or not found["type"] or found["type"].lower() == UNKNOWN_TYPE:
        return None
    charset = re.search(r";charset=[^;]+", found["parameters"], re.IGNORECASE)
    try:
        return check_content_type(found["type"] + (charset[0] if charset else ""))
    except AttachmentRefused:
        return None


def decode_base64(content: str, field: str) -> bytes:
    """Return the bytes of base64 (RFC 4648 §4 or §5) or of a ``data:`` URI (RFC 2397).

    Raises `AttachmentRefused`, saying what was seen instead.
    """
    found = _DATA_URI.match(content[:_LONGEST_PREFIX])
    if found is not None:
        content = content[found.end() :]
        if not found["parameters"].lower().endswith(";base64"):
            return unquote_to_bytes(content)
    try:
        return binascii.a2b_base64(_normalize(content).encode("ascii"), strict_mode=True)
    except ValueError:  # of binascii, of the codec and of `_normalize`
        raise AttachmentRefused(f"{field} {_describe(content)}.", _fix(content)) from None


def _normalize(content: str) -> str:
    """Return standard base64 with padding; raises `ValueError` for what is more likely something else."""
    joined = (_LINE_BREAKS.sub("", content) if "\n" in content else content).strip()
    is_spaced = _WHITE.search(joined) is not None
    joined = _WHITE.sub("", joined) if is_spaced else joined
    is_url = "-" in joined or "_" in joined
    if is_url and ("+" in joined or "/" in joined):
        raise ValueError("both alphabets")
    if is_url:
        joined = joined.replace("-", "+").replace("_", "/")
    is_padded = len(joined) % _QUANTUM == 0
    if is_spaced and not (is_padded and _looks_encoded(joined)):
        raise ValueError("words")
    if is_padded and not is_url:
        return joined
    bare = joined if not is_padded else joined.rstrip("=")
    left_over = len(bare) % _QUANTUM
    if left_over and bare[-1] not in _ODD_BITS.get(left_over, ""):
        raise ValueError("cut off")
    return bare + "=" * (-left_over % _QUANTUM)


def _looks_encoded(text: str) -> bool:
    """Tell whether a text has what words seldom have together: both cases and digits or signs."""
    return all(re.search(pattern, text) for pattern in ("[a-z]", "[A-Z]", "[0-9+/=]"))


def _describe(content: str) -> str:
    if _WEB_ADDRESS.match(content):
        return f"is an address on the web, not base64: {brief(content)}"
    if content.lstrip()[:1] in ("[", "{"):
        return "is JSON, not base64"
    if foreign := _FOREIGN.search(content):
        return f"is not base64: it has the character {brief(foreign[0])} at {foreign.start() + 1:,}"
    if "-" in content or "_" in content:
        return "is not base64 or base64url: it is cut off, or has characters of both"
    return "is not base64: it is cut off, has spaces, or = in the middle"


def _fix(content: str) -> str:
    if _WEB_ADDRESS.match(content):
        return "Nothing is fetched: give the bytes in base64, or put the link into the email."
    return "Give the whole base64 of the file's bytes, or plain text in `text`."
