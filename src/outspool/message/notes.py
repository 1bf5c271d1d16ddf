"""Warnings about content that is valid and will not look as its author expects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from outspool.domain.email import Content
from outspool.errors import brief
from outspool.message.html_reader import Start, read_tags

_TAG_IN_TEXT = re.compile(
    r"<(?:/(?:p|div|h[1-6]|ul|ol|li|table|tr|td|a|b|i|strong|em|span|html|body)|br ?/?|img [^<>]{0,500})>",
    re.IGNORECASE,
)


def list_notes(content: Content) -> list[str]:
    """Return a sentence or two for each thing that the author should know before the email leaves."""
    notes = []
    if content.html is None and content.body is not None and _TAG_IN_TEXT.search(content.body):
        notes.append("body holds HTML, and body is sent as plain text: readers see the tags. Give it as html instead.")
    if content.html is not None:
        notes += _check_html(content.html, {file.content_id for file in content.attachments})
    return notes


def _check_html(html: str, content_ids: Iterable[str | None]) -> Iterator[str]:
    has_script = False
    missing: dict[str, None] = {}
    hosts: dict[str, None] = {}
    known = {content_id.lower() for content_id in content_ids if content_id}
    for tag in read_tags(html):
        has_script = has_script or _runs_script(tag)
        source = tag.attributes.get("src", "").strip()
        scheme, _, rest = source.partition(":")
        if scheme.lower() == "cid" and rest.lower() not in known:
            missing[rest] = None
        elif tag.name == "img" and (scheme.lower() in ("http", "https") or source.startswith("//")):
            hosts[rest.lstrip("/").partition("/")[0] if scheme else source] = None
    for content_id in missing:
        yield f"html shows cid:{brief(content_id)}, and no attachment has that content_id: the picture will be missing."
    if hosts:
        yield (
            f"html loads pictures from {brief(next(iter(hosts)))}: many mail programs hide them until the reader asks "
            "for them. Attach them with a content_id to be sure."
        )
    if has_script:
        yield "html holds a script: mail programs do not run it, and some filters reject it. Remove it."


def _runs_script(tag: Start) -> bool:
    return (
        tag.name == "script"
        or any(name.startswith("on") for name in tag.attributes)
        or tag.attributes.get("href", "").strip().lower().startswith("javascript:")
    )
