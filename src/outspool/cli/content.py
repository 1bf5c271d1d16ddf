"""Reads what the options of `send` and `edit` say into the requests of the outbox."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outspool.cli.times import add_offset, is_local, pad_hour, read_machine_zone
from outspool.errors import InvalidArgument, brief

if TYPE_CHECKING:
    from outspool.domain.schedule import When
    from outspool.services.acceptance.attachment_requests import AttachmentRequest


def read_text(name: str, text: str | None, file: str | None) -> str | None:
    """Return the given text, or the content of the given file. Raises `InvalidArgument`."""
    if file is None:
        return text
    if text is not None:
        raise InvalidArgument(f"--{name} and --{name}-file are both given.", "Give one of them.")
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).expanduser().read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"--{name}-file cannot be read: {error.strerror}.", "Check the path.") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"--{name}-file is not UTF-8 text.", "Convert it first.") from None


def parse_object(text: str | None) -> dict[str, Any]:
    """Parse a JSON object. Raises `InvalidArgument`."""
    try:
        parsed = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidArgument("--variables is no object in JSON.", 'Write it like \'{"title": "Hello"}\'.')
    return parsed


def read_headers(lines: Sequence[str]) -> dict[str, str]:
    """Return the headers of ``NAME:VALUE`` lines. Raises `InvalidArgument`."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise InvalidArgument(f"--header {brief(line)} has no name before a colon.", "Write it like X-Project:42.")
        headers[name.strip()] = value.strip()
    return headers


def read_attachments(files: Sequence[Path], content_ids: Sequence[str]) -> list[AttachmentRequest]:
    """Return the files to attach; the first of `content_ids` belongs to the first of `files`, and so on.

    Raises `InvalidArgument` if there are more ids than files.
    """
    from outspool.services.acceptance.attachment_requests import AttachmentRequest

    if len(content_ids) > len(files):
        raise InvalidArgument(
            f"--content-id is given {len(content_ids)} times, and --attach {len(files)} times.",
            "Give each picture with --attach; the first --content-id belongs to the first file.",
        )
    names = [*content_ids, *[""] * (len(files) - len(content_ids))]
    return [
        AttachmentRequest(path=str(file), filename=file.name, content_id=name.removeprefix("cid:") or None)
        for file, name in zip(files, names, strict=True)
    ]


def in_machine_zone(when: When) -> When:
    """Return `when` with this machine's zone where a zone is needed and none is given."""
    if when.scheduled_at is not None:
        when = replace(when, scheduled_at=pad_hour(when.scheduled_at))
    is_without_offset = when.scheduled_at is not None and is_local(when.scheduled_at)
    needs_zone = is_without_offset or when.recurrence is not None
    if when.timezone is not None or not needs_zone:
        return when
    if (zone := read_machine_zone()) is not None:
        return replace(when, timezone=zone)
    if when.recurrence is None and when.scheduled_at is not None:
        return replace(when, scheduled_at=add_offset(when.scheduled_at))
    return when
