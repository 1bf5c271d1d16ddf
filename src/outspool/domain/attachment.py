"""An attachment's name, type and digest, without its bytes.

A caller chooses the name; it becomes a header here and a file on the recipient's machine, so it must be harmless in
both. Functions here raise `AttachmentRefused`.
"""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from outspool.errors import AttachmentRefused, brief

MAX_ATTACHMENTS = 50
MAX_FILENAME_BYTES = 255
"""The limit of most file systems. A longer name is shortened, keeping its extension."""

UNKNOWN_TYPE = "application/octet-stream"

_LONGEST_INPUT = 4096
_LONGEST_EXTENSION = 32
_JOINERS = "\u200c\u200d"
"""Invisible characters that belong to the spelling of Persian, Indic scripts and emoji."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control, format (including bidi overrides), surrogates, line and paragraph separators."""
_DEVICES = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9¹²³])[ ]*(?:\..*)?", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?.*\?[bq]\?", re.IGNORECASE)

_TOKEN = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"  # noqa: S105 - RFC 6838 §4.2 calls it a name, RFC 2045 a token
_CONTENT_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})((?:[ ]?;.*)?)", re.DOTALL)
_PARAMETER = re.compile(
    r"[ ]*([A-Za-z0-9*_.-]{1,40})[ ]?=[ ]?(?:([A-Za-z0-9_.:+-]{1,40})|\"([A-Za-z0-9_.:+-]{1,40})\")[ ]*"
)
_PARAMETER_NAME = re.compile(r"[ ]*([A-Za-z0-9*_.-]{1,40})[ ]?=")
_COMPOSITE = ("multipart/", "message/")
_CONTENT_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+@=-]{0,198}[A-Za-z0-9])?")

_COMPRESSED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_MORE_TYPES = {
    ".docx": f"{_OFFICE}wordprocessingml.document",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}presentationml.presentation",
    ".odt": f"{_OPEN_DOCUMENT}text",
    ".ods": f"{_OPEN_DOCUMENT}spreadsheet",
    ".odp": f"{_OPEN_DOCUMENT}presentation",
    ".epub": "application/epub+zip",
    ".ics": "text/calendar",
    ".vcf": "text/vcard",
    ".md": "text/markdown",
    ".log": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
}
"""Common types that some Python versions' `mimetypes` lack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One attached file.

    `filename` and `content_type` (``type/subtype``, perhaps with ``; charset=…``) are safe header values once encoded
    by RFC 2231 and RFC 2045. `content_id`, without angle brackets, is what the HTML refers to as ``cid:…``; None if it
    does not. `size` is in bytes; `digest` is the SHA-256 in lower-case hex and the key in the `BlobStore`.
    """

    filename: str
    content_type: str
    content_id: str | None
    size: int
    digest: str


def check_filename(name: str, field: str = "filename") -> str:
    """Return `name` if it is a safe file name, shortened to `MAX_FILENAME_BYTES` of UTF-8.

    Refuses paths, control, bidi and other invisible characters, encoded words, Windows device names, and names that a
    file system would change (a dot or space at the end). A name that becomes a path under Unicode normalisation counts
    as a path.
    """
    if len(name) > _LONGEST_INPUT:
        raise AttachmentRefused(f"{field} is {len(name):,} characters long.", "Give a short name with its extension.")
    for char in name:
        if unicodedata.category(char) in _UNSEEN and char not in _JOINERS:
            raise AttachmentRefused(
                f"{field} holds the character U+{ord(char):04X}, which does not show.", "Give a plain name."
            )
    folded = unicodedata.normalize("NFKC", name)
    if "/" in folded or "\\" in folded:
        raise AttachmentRefused(f"{field} {brief(name)} is a path.", "Give the name alone, like report.pdf.")
    if not folded.strip(" .") or folded != folded.strip() or folded.endswith("."):
        raise AttachmentRefused(
            f"{field} {brief(name)} is no name of a file.", "Give one like report.pdf, no space around it."
        )
    if _DEVICES.fullmatch(folded) or _ENCODED_WORD.search(folded):
        raise AttachmentRefused(f"{field} {brief(name)} means something else to some programs.", "Give another name.")
    return _shorten(name)


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_FILENAME_BYTES:
        return name
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _LONGEST_EXTENSION:
        stem, dot, extension = name, "", ""
    room = MAX_FILENAME_BYTES - len((dot + extension).encode())
    shortened = stem.encode()[:room].decode(errors="ignore")
    return f"{shortened.rstrip(f' .{_JOINERS}')}{dot}{extension}"


def check_content_type(value: str, field: str = "content_type") -> str:
    """Return ``type/subtype`` in lower case, with ``; charset=…`` and a calendar's ``; method=…`` if given.

    Refuses everything else, and the types ``message/*`` and ``multipart/*``, which only outspool writes.
    """
    match = _CONTENT_TYPE.fullmatch(value[:_LONGEST_INPUT].strip(" "))
    if match is None:
        raise AttachmentRefused(
            f"{field} {brief(value)} is not a media type.", "Write it like application/pdf, or leave it out."
        )
    kind = match[1].lower()
    if kind.startswith(_COMPOSITE):
        raise AttachmentRefused(
            f"{field} {brief(value)} cannot be an attachment's.", f"Leave it out, or give {UNKNOWN_TYPE}."
        )
    parameters = [_read_parameter(part, kind, value, field) for part in match[2].split(";")[1:] if part.strip(" ")]
    if len({name for name, _ in parameters}) < len(parameters):
        raise AttachmentRefused(
            f"{field} {brief(value)} is not a media type: it has a parameter twice.", "Leave one of them out."
        )
    return "; ".join([kind, *(f"{name}={text}" for name, text in sorted(parameters))])


def _read_parameter(part: str, kind: str, value: str, field: str) -> tuple[str, str]:
    """Return the name and value of one parameter of a media type."""
    named = _PARAMETER_NAME.match(part)
    name = named[1].lower() if named else ""
    if named and name not in ("charset", *(("method",) if kind == "text/calendar" else ())):
        raise AttachmentRefused(
            f"{field}: the parameter {brief(name)} of a media type is not supported.",
            "Leave it out; a name goes into `filename`." if name == "name" else "Leave it out.",
        )
    match = _PARAMETER.fullmatch(part)
    if match is None:
        raise AttachmentRefused(
            f"{field} {brief(value)} is not a media type.", "Write it like text/plain; charset=utf-8, or leave it out."
        )
    text = match[2] or match[3]
    return name, text.upper() if name == "method" else text.lower()


def guess_content_type(filename: str) -> str:
    """Return the media type for the extension of `filename`, else `UNKNOWN_TYPE`.

    It is the same on every machine: the system's own tables are not used.
    """
    kind, encoding = _known_types().guess_type(f"/{filename}")  # the slash keeps it from being parsed as a URL
    if encoding is not None:
        return _COMPRESSED.get(encoding, UNKNOWN_TYPE)
    return UNKNOWN_TYPE if kind is None or kind.startswith(_COMPOSITE) else kind


@cache
def _known_types() -> mimetypes.MimeTypes:
    types = mimetypes.MimeTypes()
    for extension, kind in _MORE_TYPES.items():
        types.add_type(kind, extension)
    return types


def check_content_id(value: str, field: str = "content_id") -> str:
    """Return a content id as HTML refers to it after ``cid:`` (RFC 2392); strips ``cid:`` and angle brackets.

    Only letters, digits and ``. _ + - = @`` are allowed, so that no program needs to escape it.
    """
    inner = value[:_LONGEST_INPUT]
    if inner.startswith("<") and inner.endswith(">"):
        inner = inner[1:-1]
    inner = inner.removeprefix("cid:")
    if not _CONTENT_ID.fullmatch(inner):
        raise AttachmentRefused(
            f"{field} {brief(value)} is no content id.", 'Give a word like logo, and write <img src="cid:logo">.'
        )
    return inner
