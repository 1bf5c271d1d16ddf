"""Checks header values and bodies: nothing may end a header, start another, or hide in one.

Length is checked first, so that absurd input costs nothing. Encoded words (RFC 2047) are decoded as mail programs do:
Python 3.10 to 3.12.1 turn the subject ``=?utf-8?q?x=0D=0ABcc=3A…?=`` into a real ``Bcc:`` header (CVE-2024-6923).
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from outspool.domain.provider_headers import HARMLESS, is_acted_on
from outspool.domain.setting import Setting
from outspool.domain.visible_text import find_invisible, remove_invisible
from outspool.errors import InvalidArgument, Refusal, brief

MAX_LINE = 998
"""Characters of one header value (RFC 5322 §2.1.1)."""

MAX_HEADERS = 20
MAX_TAGS = 10

_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# The complement of the allowed characters: twice as fast over megabytes as listing forbidden ones.
_NOT_IN_A_BODY = re.compile(r"[^\t\n\r -~\xa0-\ud7ff\ue000-\U0010ffff]")
# Wider than RFC 2047, as mail programs are: it may contain spaces, "?" and any charset, and the end may be missing
# (Python takes the "?=" of "?q?=0D" for it). White space between encoded words is ignored (§6.2).
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?(.*?)(?:\?=(?:\s+(?==\?))?|\Z)", re.IGNORECASE | re.DOTALL)
_HEX_PAIR = re.compile(rb"=([0-9A-Fa-f]{2})")
OWN_HEADER = re.compile(r"[Xx]-[!#$%&'*+.^_`|~0-9A-Za-z-]{1,74}")
_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,50}")

_STANDARD_HEADERS = frozenset({"list-unsubscribe", "list-unsubscribe-post", "list-id", "auto-submitted", "precedence"})
WRITTEN_BY_US = frozenset({"x-priority", "x-msmail-priority", "x-mailer"})


def check_header_line(value: str, field: str, limit: int = MAX_LINE, error: type[Refusal] = InvalidArgument) -> str:
    """Return `value` unchanged if it is safe as a header value.

    Raises `error` if it is longer than `limit`, or contains a control character, a line separator or a lone surrogate,
    plainly or in an encoded word. An undecodable encoded word is refused too, because it may hide anything.
    """
    if len(value) > limit:
        raise error(f"{field} is {len(value):,} characters long; {limit} is the most.", "Shorten it.")
    if found := _NOT_IN_A_LINE.search(value):
        raise error(f"{field} holds {_quote_names(found)}.", "Write it as plain text on one line.")
    if _hides_something(value):
        raise error(
            f"{field} holds an encoded word (=?…?=) that hides a control character or cannot be read.",
            "Write the text itself: non-ASCII text is encoded for you.",
        )
    return value


def clean_subject(value: str) -> str:
    """Return the subject without invisible and direction-changing characters.

    Raises as `check_header_line` does.
    """
    return remove_invisible(check_header_line(value, "subject"))


def check_sender_name(name: str, field: str) -> None:
    """Raise `InvalidArgument` for a display name that could pass for another sender.

    Mail programs often show only the name, so it must contain no address, nothing invisible, and no encoded words.
    """
    if "@" in unicodedata.normalize("NFKC", name):
        raise InvalidArgument(f"{field}: the name {brief(name)} holds an @.", "Give a name without an address in it.")
    if "=?" in name:
        raise InvalidArgument(f"{field}: the name {brief(name)} holds an encoded word.", "Write the text itself.")
    if (hidden := find_invisible(name)) is not None:
        raise InvalidArgument(
            f"{field}: the name holds the invisible character U+{ord(hidden):04X}.", "Write it in plain letters."
        )


def check_body(value: str, field: str) -> str:
    """Return `value` unchanged if mail can carry it.

    Raises `InvalidArgument` for lone surrogates and for control characters other than tab, line feed and carriage
    return.
    """
    if found := _NOT_IN_A_BODY.search(value):
        raise InvalidArgument(
            f"{field} holds {_quote_names(found)} at character {found.start() + 1:,}.", "Take it out."
        )
    return value


def check_headers(headers: Mapping[str, str], allowed: Collection[str] = HARMLESS) -> dict[str, str]:
    """Return the headers a caller may set: ``X-…``, a few standard ones, and those in `allowed`.

    Raises `InvalidArgument` for any other name, for one that outspool writes itself or that a provider acts on
    (`outspool.domain.provider_headers`), for a name given twice in different case, and for an empty or unsafe value.
    """
    permitted = frozenset(name.lower() for name in allowed)
    _check_count(MAX_HEADERS, headers, "headers")
    accepted: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in headers.items():
        _check_header_name(name, permitted)
        if name.lower() in seen:
            raise InvalidArgument(f"headers has {brief(name)} twice.", "Case makes no difference in a name.")
        if not value.strip():
            raise InvalidArgument(f"headers: {brief(name)} is empty.", "Leave it out.")
        seen.add(name.lower())
        accepted[name] = check_header_line(value, f"headers: {brief(name)}")
    return accepted


def tags(values: Sequence[str]) -> tuple[str, ...]:
    """Return the tags in order, without duplicates; raises `InvalidArgument`."""
    unique = tuple(dict.fromkeys(values))
    _check_count(MAX_TAGS, unique, "tags")
    for tag in unique:
        if not _TAG.fullmatch(tag):
            raise InvalidArgument(f"tags: {brief(tag)} is not a tag.", "Use 1 to 50 letters, digits and - _ . : only.")
    return unique


def _check_header_name(name: str, permitted: Collection[str]) -> None:
    lower = name.lower()
    if lower in permitted and name.isascii():
        return
    if not OWN_HEADER.fullmatch(name) and lower not in _STANDARD_HEADERS:
        raise InvalidArgument(
            f"headers: {brief(name)} cannot be set here.",
            "Use X-… names, List-Unsubscribe, List-Unsubscribe-Post, List-Id, Auto-Submitted or Precedence; "
            "everything else has an argument of its own.",
        )
    if lower in WRITTEN_BY_US:
        raise InvalidArgument(f"headers: {brief(name)} is written by outspool.", "Leave it out, or give `priority`.")
    if is_acted_on(name):
        raise InvalidArgument(
            f"headers: {brief(name)} gives orders to mail relays.",
            f"Leave it out, or ask the operator, who may allow it with {Setting.ALLOWED_HEADERS}.",
        )


def _check_count(limit: int, values: Sequence[str] | Mapping[str, str], field: str) -> None:
    if len(values) > limit:
        raise InvalidArgument(f"{field} has {len(values):,} entries; {limit} is the most.", "Give fewer.")


def _quote_names(found: re.Match[str]) -> str:
    char = found.group()
    if char in "\r\n\u2028\u2029":
        return "a line break"
    if char == "\t":
        return "a tab"
    if "\ud800" <= char <= "\udfff":
        return f"half a character (the lone surrogate U+{ord(char):04X})"
    return f"the control character U+{ord(char):04X}"


def _hides_something(value: str) -> bool:
    """Tell whether the encoded words of `value`, decoded from any position, contain more than plain text."""
    start = value.find("=?")
    if start < 0:
        return False
    while start >= 0:
        word = _ENCODED_WORD.match(value, start)
        if word and not _is_plain(_decode(word)):
            return True
        start = value.find("=?", start + 1)
    # Two harmless words may decode to a third one, which a program that decodes twice would decode too.
    return not _is_plain(_ENCODED_WORD.sub(lambda word: _decode(word) or "", value))


def _is_plain(decoded: str | None) -> bool:
    return decoded is not None and not _NOT_IN_A_LINE.search(decoded) and not _ENCODED_WORD.search(decoded)


def _decode(word: re.Match[str]) -> str | None:
    """Return the text of an encoded word; None if it is broken.

    A character split over two words counts as broken (RFC 2047 §5).
    """
    charset, encoding, payload = word.groups()
    try:
        raw = payload.encode("ascii")
        if encoding in "bB":
            raw = binascii.a2b_base64(raw, strict_mode=True)
        else:
            raw = _HEX_PAIR.sub(lambda pair: bytes.fromhex(pair[1].decode()), raw.replace(b"_", b" "))
        return raw.decode(charset.partition("*")[0])  # "*language" may follow the charset (RFC 2231 §5)
    except (LookupError, ValueError):
        return None
