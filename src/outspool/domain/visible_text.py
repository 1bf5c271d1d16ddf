"""Finds invisible characters, and those that change the text's direction.

They make a name look like another one. Some belong to spelling: joiners in Persian, Indic scripts and emoji, and the
tags of flags.
"""

from __future__ import annotations

import re
import unicodedata

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKS = frozenset("\u200e\u200f\u061c")
_FILLERS = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f\u2800\u180b\u180c\u180d\u180f")
"""Letters and marks by category that show nothing."""
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f")
_JOINED_SCRIPTS = ((0x0600, 0x08FF), (0x0900, 0x0DFF), (0x0F00, 0x109F), (0x1780, 0x18AF), (0xFB50, 0xFDFF))
"""Arabic and Syriac, Indic, Tibetan and Burmese, Khmer and Mongolian: scripts that use joiners in words."""
_KEYCAPS = "0123456789#*"


def find_invisible(text: str) -> str | None:
    """Return the first invisible or direction-changing character; None if there is none."""
    return next((char for place, char in enumerate(text) if not _is_visible(text, place)), None)


def remove_invisible(text: str) -> str:
    """Return `text` without what `find_invisible` finds; keeps flag tags and right-to-left marks."""
    if text.isascii():
        return text
    kept = {place for flag in _FLAG.finditer(text) for place in range(*flag.span())}
    is_rtl = any(unicodedata.bidirectional(char) in ("R", "AL") and char not in _MARKS for char in text)
    return "".join(
        char
        for place, char in enumerate(text)
        if place in kept or _is_visible(text, place) or (is_rtl and char in _MARKS)
    )


def _is_visible(text: str, place: int) -> bool:
    char = text[place]
    if char.isascii():
        return True
    if char in (_ZWJ, _ZWNJ):
        return 0 < place < len(text) - 1 and _is_spelling_joiner(char, text[place - 1], text[place + 1])
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return place > 0 and (text[place - 1] in _KEYCAPS or _has_variants(text[place - 1]))
    return unicodedata.category(char) not in ("Cf", "Co", "Cn", "Zl", "Zp", "Cc", "Cs") and char not in _FILLERS


def _is_spelling_joiner(joiner: str, before: str, after: str) -> bool:
    if joiner == _ZWJ and _is_pictorial(after) and (_is_pictorial(before) or before == "\ufe0f"):
        return True
    return _is_of_joined_script(before) and _is_of_joined_script(after)


def _is_pictorial(char: str) -> bool:
    return unicodedata.category(char) in ("So", "Sk", "Sm", "Po")


def _has_variants(char: str) -> bool:
    """Tell whether a variation selector may follow: symbols and ideographs."""
    return _is_pictorial(char) or unicodedata.name(char, "").startswith("CJK ")


def _is_of_joined_script(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in _JOINED_SCRIPTS)
