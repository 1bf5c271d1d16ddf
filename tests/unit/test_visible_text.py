"""Invisible characters are found; those of spelling, emoji and flags are kept."""

from __future__ import annotations

import pytest

from outspool.domain.visible_text import find_invisible, remove_invisible

SPELT = [
    "Ada Lovelace",
    "José Ñandú",
    "علی‌رضا",
    "ක්‍රමය",
    "नमस्ते क्‍ष",
    "👩‍👩‍👧 👍🏽 ❤️‍🔥 1️⃣",
    "日本語 葛󠄀城",
    "שלום",
    "Zoë Ωmega Ж",
    "e\u0301",
    "«café» 5 €",
]
FLAG = "🏴󠁧󠁢󠁥󠁮󠁧󠁿"
HIDDEN = [
    *("\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u061c", "\u2060", "\u2063", "\ufeff", "\u00ad", "\u180e"),
    *("\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069", "\u206a"),
    *("\U000e0041", "\U000e007f", "\ufe0f", "\U000e0100", "\u3164", "\u115f", "\uffa0", "\u2800", "\u034f", "\ufff9"),
    *("\ue000", "\U0001d173", "\u17b4"),
]


@pytest.mark.parametrize("text", SPELT)
def test_what_is_part_of_spelling_is_seen(text: str) -> None:
    assert find_invisible(text) is None
    assert remove_invisible(text) == text


@pytest.mark.parametrize("hidden", HIDDEN)
def test_what_nobody_sees_is_found_between_latin_letters(hidden: str) -> None:
    assert find_invisible(f"Ad{hidden}a") == hidden
    assert remove_invisible(f"Ad{hidden}a") == "Ada"


def test_a_flag_keeps_its_tags_and_nothing_else_does() -> None:
    assert remove_invisible(f"Go {FLAG}!") == f"Go {FLAG}!"
    assert remove_invisible("Go \U000e0067\U000e0062!") == "Go !"
    assert remove_invisible("🏴" + "\U000e0067" * 40) == "🏴"


def test_text_from_right_to_left_keeps_its_marks_and_loses_overrides() -> None:
    assert remove_invisible("שלום\u200f (A)\u200e") == "שלום\u200f (A)\u200e"
    assert remove_invisible("\u202e\u05e9\u05dc\u202c \u2067x\u2069") == "\u05e9\u05dc x"
