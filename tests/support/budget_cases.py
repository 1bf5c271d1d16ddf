"""Calls of every tool of a requested size, each large in another place."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

Case = tuple[str, str, Mapping[str, Any] | bytes]
"""A name, a tool, and its arguments: JSON as it stands where it is bytes."""


def message(**more: Any) -> dict[str, Any]:
    """Return the arguments of a small email, and `more`; None leaves one out."""
    plain = {"to": ["a@example.com"], "subject": "s", "body": "b", "wait": 0, **more}
    return {name.rstrip("_"): value for name, value in plain.items() if value is not None}


def cases(size: int) -> Iterator[Case]:
    """Yield calls of about `size` bytes."""
    yield from _values(size)
    yield from _texts(size)
    yield from _fields(size)
    yield from _files(size)
    yield from _times(size)
    yield from _other_tools(size)
    yield from _batches(size)


def _values(size: int) -> Iterator[Case]:
    """Values without end, and depth."""
    numbered = b",".join(b'"k%d":1' % n for n in range(size // 12))
    yield "numbers as addresses", "send_email", b'{"subject":"s","body":"b","to":[' + b"1," * (size // 2) + b"1]}"
    yield "lists as addresses", "send_email", b'{"subject":"s","body":"b","to":[' + b"[]," * (size // 3) + b"1]}"
    yield "depth of 100,000", "send_email", b'{"to":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "depth without an end", "send_email", b'{"to":' + b"[" * size + b"}"
    yield "objects in depth", "send_email", b'{"variables":' + b'{"a":' * (size // 6) + b"1" + b"}" * (size // 6) + b"}"
    yield "unknown arguments", "send_email", b"{" + numbered + b"}"
    yield "numbers as headers", "send_email", b'{"to":"a@b.co","subject":"s","headers":{' + numbered + b"}}"
    yield "a number of many digits", "send_email", b'{"to":' + b"1" * size + b"}"
    yield "strings without commas", "send_email", b'{"to":' + b'""' * (size // 2) + b"}"
    yield "a list written as a string", "send_email", message(to=json.dumps([[]] * (size // 5)))
    yield "fewer wrong addresses", "send_email", message(to=[1] * 45_000)
    yield "fewer unknown arguments", "send_email", message(**{f"k{n}": 1 for n in range(45_000)})
    yield "fewer wrong headers", "send_email", message(headers={f"k{n}": 1 for n in range(45_000)})
    unknown = {f"k{n}": 1 for n in range(45_000)}
    yield "a file of unknown fields", "send_email", message(attachments=[unknown])


def _texts(size: int) -> Iterator[Case]:
    yield "a body", "send_email", message(body="x" * size)
    yield "a body of lines", "send_email", message(body="x \n" * (size // 4))
    yield "a body of emoji", "send_email", message(body="\U0001f600" * (size // 12))
    yield "a body of umlauts", "send_email", message(body="é" * (size // 6))
    yield "a page", "send_email", message(html="<p>Hello</p>" * (size // 12), body=None)
    yield "a page without an end", "send_email", message(html="<blockquote>" * (size // 12), body=None)
    yield "a preview of a page", "send_email", message(html="<b>" * (size // 3), body=None, preview=True)
    yield (
        "a page of pictures",
        "send_email",
        message(html="cid:a " * (size // 6), attachments=[{"filename": "a.png", "text": "x", "content_id": "b"}]),
    )


def _fields(size: int) -> Iterator[Case]:
    yield "a subject", "send_email", message(subject="x" * size)
    yield "a subject of encoded words", "send_email", message(subject="=?" * (size // 2))
    yield "addresses", "send_email", message(to=[f"a{n}@example.com" for n in range(size // 20)])
    yield "one address", "send_email", message(to="a" * size + "@example.com")
    yield "a sender of quotes", "send_email", message(from_='"' * (size // 2))
    yield "tags", "send_email", message(tags=[f"t{n}" for n in range(size // 8)])
    yield "references", "send_email", message(references=["<a@b>"] * (size // 9))
    yield "a key", "send_email", message(idempotency_key="x" * size)
    yield "a template's name", "send_email", message(template="x" * size, body=None)
    yield "a variable", "send_email", message(template="report", variables={"title": "x" * size}, body=None)
    rows = {"title": "x", "summary": "y", "rows": [[1, 2]] * (size // 10)}
    yield "variables", "send_email", message(template="report", variables=rows, body=None)


def _files(size: int) -> Iterator[Case]:
    content = base64.b64encode(b"x" * (size * 3 // 4)).decode()
    for name, file in {
        "a file": {"filename": "a.bin", "content": content},
        "a file of text": {"filename": "a.txt", "text": "x\n" * (size // 3)},
        "a file that is not base64": {"filename": "a.bin", "content": "!" * size},
        "a file's name": {"filename": "a" * size, "text": "x"},
        "a file's type": {"filename": "a", "text": "x", "content_type": "a/b;" * (size // 4)},
        "a file's path": {"path": "/" * size},
        "a file's handle": {"filename": "a", "blob": "blob:" + "0" * size},
    }.items():
        yield name, "send_email", message(attachments=[file])
    yield "files", "send_email", message(attachments=[{"filename": "a.txt", "text": "x"}] * (size // 35))


def _times(size: int) -> Iterator[Case]:
    for name, more in {
        "a series": {"recurrence": "* " * (size // 2)},
        "a time": {"scheduled_at": "2" * size},
        "a zone": {"scheduled_at": "2030-01-01T00:00", "timezone": "a/" * (size // 2)},
        "a delay": {"delay": "P" + "1" * size + "D"},
        "an end": {"recurrence": "0 9 * * *", "until": "9" * size},
    }.items():
        yield name, "schedule_email", message(wait=None, **more)


def _other_tools(size: int) -> Iterator[Case]:
    yield "an id", "get_status", {"email_id": "x" * size}
    yield "an id to cancel", "cancel_email", {"email_id": "x" * size}
    yield "ids to retry", "retry_email", {"email_id": ["x"] * (size // 6)}
    yield "a new body", "update_email", {"email_id": "x", "body": "x" * size}
    yield "a query", "list_emails", {"query": "x" * size}
    yield "a query of wildcards", "list_emails", {"query": "%_" * (size // 2)}
    yield "a cursor", "list_emails", {"cursor": "A" * size}
    yield "a recipient", "list_emails", {"recipient": "x" * size}
    yield "an unknown argument", "list_templates", {"x": "y" * size}
    yield "an unknown tool", "no_such_tool", {"x": "y" * size}


def _batches(size: int) -> Iterator[Case]:
    content = base64.b64encode(b"x" * (size * 3 // 4)).decode()
    shared: dict[str, Any] = {"to": ["a@example.com"], "subject": "s"}
    hundred: list[dict[str, Any]] = [{}] * 100

    def batch(emails: object, **more: Any) -> Mapping[str, Any]:
        return {"emails": emails, "shared": {**shared, **more}, "wait": 0}

    yield "a batch", "send_batch", batch([{"body": "x" * (size // 100)}] * 100)
    yield "a batch of nothing", "send_batch", batch([{}] * (size // 4), body="b")
    yield "a batch as a string", "send_batch", batch(json.dumps([{"a": "b"}] * (size // 14)))
    yield "a batch of one page", "send_batch", batch(hundred, html="<b>x" * (size // 4))
    yield "a batch of one body", "send_batch", batch(hundred, body="x y\n" * (size // 4))
    yield (
        "a batch of one file",
        "send_batch",
        batch(hundred, body="b", attachments=[{"filename": "a", "content": content}]),
    )
    many = [f"a{n}@example.com" for n in range(900)]
    yield "a batch of addresses", "send_batch", batch([{"to": many}] * min(100, size // 20_000), body="b")
