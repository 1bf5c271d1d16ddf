"""Formats header fields so that every parser reads back exactly the original text.

The standard library's `EmailMessage` is not used: it folds long addresses, message ids and encoded words in ways that
its own and other parsers read differently. Each function returns one whole field, folded at 76 columns (RFC 2047 §2
allows no more beside encoded words), in ASCII, without its final CRLF. Each raises `InvalidArgument` for what no header
can hold.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters, digits

from outspool.domain.email import Mailbox
from outspool.errors import InvalidAddress, InvalidArgument, brief

_WIDTH = 76
_LONGEST_LINE = 998
"""RFC 5322 §2.1.1."""
_LONGEST_LITERAL = 60
_LONGEST_ENCODED_WORD = 75
"""RFC 2047 §2."""
_FRAME = len("=?utf-8?q??=")
_SHORTEST_ROOM = 32
"""Columns for the longest character in an encoded word, however long the field's name."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATEXT}(?:\.{_ATEXT})*"
_QUOTED_DOTS = rf'"(?=\.|[^"]*\.[."]){_ATEXT.replace("[", "[.", 1)}"'  # the only quoted local parts that come here
_ADDRESS = re.compile(rf"(?:{_DOT_ATOM}|{_QUOTED_DOTS})@(?:{_DOT_ATOM}|\[[!-Z^-~]+\])")
_ATOMS = re.compile(rf"{_ATEXT}(?: {_ATEXT})*")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+>")
_NAME = re.compile(r"[!-9;-~]{1,76}")
_UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_HEAD = re.compile(rb"(?:[!-9;-~]+:(?: [ -~]*)?\r\n(?: (?= *[!-~])[ -~]*\r\n)*)+\r\n")
"""Matches a header block without any hidden line end: printable ASCII, folded lines that are not blank."""
_FIELD_NAME = re.compile(rb"^([!-9;-~]+):", re.MULTILINE)
_SINGLE_SPACE = re.compile(r"(?<! ) (?! )")
_Q = {" ": b"_"} | {c: c.encode() for c in f"{ascii_letters}{digits}!*+-/"}
"""Characters that a Q-encoded word need not escape, even in a display name (RFC 2047 §4.2 and §5, rule 3)."""
_PARAMETER_CHARACTERS = frozenset(f"{ascii_letters}{digits}!#$&+-.^_`{{|}}~")
"""Characters that an extended parameter need not escape (RFC 2231 §7)."""


def header_block(fields: Sequence[str]) -> bytes:
    """Return `fields` followed by the empty line.

    Raises `InvalidArgument` unless a parser reads exactly these fields.
    """
    block = "\r\n".join([*fields, "", ""]).encode("utf-8", "surrogatepass")
    check_names(block, [field.partition(":")[0] for field in fields])
    return block


def check_names(head: bytes, intended: Sequence[str]) -> None:
    """Parse a header block and raise `InvalidArgument` unless it has exactly the intended fields.

    No input is known that fails here; but a smuggled header could be a hidden recipient, so it is checked twice.
    """
    if not _HEAD.fullmatch(head) or _FIELD_NAME.findall(head) != [name.encode() for name in intended]:
        raise InvalidArgument(
            "The headers of this email would be read as other headers.", "Simplify names and subject."
        )


def text_field(name: str, text: str, *, longest_word: int = _LONGEST_LITERAL) -> str:
    """Return an unstructured field (RFC 5322 §2.2.1).

    Printable ASCII stays as it is if no word is longer than `longest_word`. Everything else becomes encoded words (RFC
    2047), including text that looks like one, so that nobody decodes it.
    """
    _check(name, text)
    words = _SINGLE_SPACE.split(text) if text else []
    if _is_literal(text) and all(len(word) <= longest_word for word in words):
        return fold(name, words)
    return fold(name, _encoded_words(text, _room_beside(name)))


def custom_field(name: str, text: str) -> str:
    """Return a caller's own field: like `text_field`, but long words (URLs, tokens) are kept whole.

    Encoding would hide them from the program they are meant for.
    """
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f"{brief(name)} cannot be the name of a header.", "Use letters, digits and hyphens, at most 76."
        )
    # A word that does not fit beside the name would start a new line and be read with a space before it.
    return text_field(name, text, longest_word=_LONGEST_LINE - len(f"{name}: "))


def address_field(name: str, mailboxes: Sequence[Mailbox]) -> str:
    """Return a list of mailboxes (RFC 5322 §3.4). Raises `InvalidAddress` unless each is ASCII."""
    words: list[str] = []
    for mailbox in mailboxes:
        room = _LONGEST_ENCODED_WORD if words else _room_beside(name)
        words += [*_mailbox_words(name, mailbox, room)]
        words[-1] += ","
    words[-1] = words[-1][:-1]
    return fold(name, words)


def phrase_words(field: str, text: str) -> Sequence[str]:
    """Return `text` as a phrase (RFC 5322 §3.2.5), in words between which lines may be folded."""
    _check(field, text)
    return _phrase(text, _room_beside(field))


def id_field(name: str, message_ids: Iterable[str]) -> str:
    """Return one or more message ids, each in angle brackets (RFC 5322 §3.6.4)."""
    ids = tuple(message_ids)
    for message_id in ids:
        if not _MESSAGE_ID.fullmatch(message_id) or _looks_encoded(message_id):
            raise InvalidArgument(
                f"{brief(message_id)} cannot stand in {name}.", "A message id looks like <unique@domain>."
            )
    return fold(name, ids)


def fold(name: str, words: Iterable[str]) -> str:
    """Return a field of `words`, folded at the single spaces between them (RFC 5322 §2.2.3).

    The words must be printable ASCII that needs no encoding.
    """
    lines = [f"{name}:"]
    for index, word in enumerate(words):
        # Some parsers take a field for empty if nothing follows the colon on its line.
        if len(lines[-1]) + 1 + len(word) > (_WIDTH if index else _LONGEST_LINE):
            lines.append("")
        lines[-1] += f" {word}"
        if len(lines[-1]) > _LONGEST_LINE:
            raise InvalidArgument(f"A word of {name} has {len(word)} characters.", "No line of an email holds that.")
    return "\r\n".join(lines)


def with_parameter(field: str, name: str, text: str) -> str:
    """Return `field` with a parameter (RFC 2045 §5.1) in one form only, so that all programs read the same text.

    Short plain ASCII is quoted; everything else uses RFC 2231, in as many lines as needed.
    """
    _check(name, text)
    if _is_literal(text) and len(text) <= _LONGEST_LITERAL and '"' not in text and "\\" not in text:
        return f'{field};\r\n {name}="{text}"'
    encoded = (c if c in _PARAMETER_CHARACTERS else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)
    room = _WIDTH - len(f" {name}*99*=;")
    charset = "utf-8''"
    sections = [chunk.decode() for chunk in _chunks(map(str.encode, encoded), room - len(charset), room)]
    sections[0] = charset + sections[0]
    marks = [f"*{n}*" for n in range(len(sections))] if len(sections) > 1 else ["*"]
    return ";\r\n".join([field, *(f" {name}{mark}={part}" for mark, part in zip(marks, sections, strict=True))])


def _mailbox_words(field: str, mailbox: Mailbox, room: int) -> Iterable[str]:
    """Yield the words of the display name and the address; lines may be folded between them."""
    _check(field, mailbox.name)
    _check(field, mailbox.address)
    if not _ADDRESS.fullmatch(mailbox.address) or _looks_encoded(mailbox.address):
        raise InvalidAddress(f"{brief(mailbox.address)} is not an address.", "Give one as name@domain, in ASCII.")
    if not mailbox.name:
        yield mailbox.address
        return
    yield from _phrase(mailbox.name, room)
    yield f"<{mailbox.address}>"


def _phrase(name: str, room: int) -> Sequence[str]:
    """Write a display name as atoms, a quoted string or encoded words: the simplest exact form."""
    plain = name if _ATOMS.fullmatch(name) else '"{}"'.format(re.sub(r'([\\"])', r"\\\1", name))
    words = _SINGLE_SPACE.split(plain)
    if _is_literal(name) and all(len(word) <= _LONGEST_LITERAL for word in words):
        return words
    return _encoded_words(name, room)


def _encoded_words(text: str, first_room: int) -> list[str]:
    """Split `text` into encoded words (RFC 2047) of whole characters, the first in `first_room` columns."""
    utf8 = [c.encode() for c in text]
    quoted = [_Q.get(c) or "".join(f"={byte:02X}" for byte in raw).encode() for c, raw in zip(text, utf8, strict=True)]
    if 3 * sum(map(len, quoted)) <= 4 * sum(map(len, utf8)):
        chunks = _chunks(quoted, first_room - _FRAME, _LONGEST_ENCODED_WORD - _FRAME)
        return [f"=?utf-8?q?{chunk.decode()}?=" for chunk in chunks]
    chunks = _chunks(utf8, (first_room - _FRAME) // 4 * 3, (_LONGEST_ENCODED_WORD - _FRAME) // 4 * 3)
    return [f"=?utf-8?b?{b64encode(chunk).decode()}?=" for chunk in chunks]


def _chunks(pieces: Iterable[bytes], first_room: int, room: int) -> Iterator[bytes]:
    """Join `pieces` into chunks of at most `room` octets, the first of `first_room`, without cutting a piece."""
    chunk, limit = b"", first_room
    for piece in pieces:
        if len(chunk) + len(piece) > limit:
            yield chunk
            chunk, limit = b"", room
        chunk += piece
    yield chunk


def _room_beside(name: str) -> int:
    """Columns for the first encoded word; after a very long name the line grows instead."""
    return max(_WIDTH - len(name) - len(": "), _SHORTEST_ROOM)


def _check(field: str, text: str) -> None:
    """Reject invalid characters, and anything that could end a header or start another in any parser."""
    if found := _UNSAFE.search(text):
        raise InvalidArgument(
            f"{field} holds the character U+{ord(found.group()):04X}, which no header can hold.",
            "Write plain text on one line.",
        )


def _is_literal(text: str) -> bool:
    """Tell whether `text` can stay as it is: printable ASCII that nobody decodes, no space that may get lost."""
    return text.isascii() and text.isprintable() and "=?" not in text and text == text.strip(" ")


def _looks_encoded(token: str) -> bool:
    """Tell whether a parser may decode a token that cannot be encoded to prevent it."""
    return "=?" in token and "?=" in token
