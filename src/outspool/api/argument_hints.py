"""Says what a wrong argument name most likely meant.

A hint may never lead to an email that leaves at another time than was asked, so a name that speaks of time is answered
with a tool that sends at a time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType

from outspool.errors import brief

_SYNONYMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("text", "content", "message", "text_body", "body_text", "plain_text", "plain"), ("body",)),
        **dict.fromkeys(("html_body", "body_html", "html_content", "html_text"), ("html",)),
        **dict.fromkeys(("recipient", "recipients", "to_email", "to_emails"), ("to", "recipient")),
        **dict.fromkeys(("to_address", "to_addresses", "email_address", "recipient_email"), ("to", "recipient")),
        **dict.fromkeys(("cc_recipients", "cc_emails"), ("cc",)),
        **dict.fromkeys(("bcc_recipients", "bcc_emails"), ("bcc",)),
        **dict.fromkeys(("sender", "from_email", "from_address", "sender_email"), ("from",)),
        **dict.fromkeys(("title", "subject_line"), ("subject", "query")),
        **dict.fromkeys(
            ("at", "when", "time", "date", "datetime", "send_at", "send_time", "send_on"), ("scheduled_at",)
        ),
        **dict.fromkeys(("deliver_at", "delivery_time", "due_at", "run_at", "start", "start_at"), ("scheduled_at",)),
        **dict.fromkeys(("schedule", "scheduled_time", "scheduled_for", "schedule_time"), ("scheduled_at",)),
        **dict.fromkeys(("tz", "time_zone", "zone"), ("timezone",)),
        **dict.fromkeys(("in", "after", "delay_seconds", "delay_minutes", "send_after"), ("delay",)),
        **dict.fromkeys(("cron", "repeat", "rrule", "recurring", "frequency", "interval"), ("recurrence",)),
        **dict.fromkeys(("ends_at", "end", "end_date", "ends"), ("until", "created_before")),
        **dict.fromkeys(("times", "occurrences", "repetitions"), ("count",)),
        **dict.fromkeys(("id", "message_id", "emailid", "uuid"), ("email_id",)),
        **dict.fromkeys(("search", "q", "text_query"), ("query",)),
        **dict.fromkeys(("files", "attachment", "file_paths"), ("attachments",)),
        **dict.fromkeys(("importance", "urgency"), ("priority",)),
        **dict.fromkeys(("template_name", "template_id"), ("template",)),
        **dict.fromkeys(("template_variables", "template_data", "vars", "context"), ("variables",)),
        **dict.fromkeys(("dry_run", "dryrun", "simulate"), ("preview",)),
        **dict.fromkeys(("max", "max_results", "page_size", "per_page"), ("limit",)),
        **dict.fromkeys(("page", "page_token", "offset", "next"), ("cursor",)),
        **dict.fromkeys(("since", "from_date", "start_date"), ("created_after",)),
        **dict.fromkeys(("to_date", "before"), ("created_before",)),
        **dict.fromkeys(("label", "labels", "category"), ("tags", "tag")),
        **dict.fromkeys(("messages", "items", "batch"), ("emails",)),
        **dict.fromkeys(("common", "defaults", "base"), ("shared",)),
        **dict.fromkeys(("timeout", "wait_seconds"), ("wait",)),
        **dict.fromkeys(("key", "request_id", "dedupe_key"), ("idempotency_key",)),
        "to": ("recipient",),
        "subject": ("query",),
        "name": ("filename",),
        "file": ("path",),
        "url": ("path",),
        "data": ("content",),
        "base64": ("content",),
        "mime_type": ("content_type",),
        "type": ("content_type",),
        "cid": ("content_id",),
    }
)
"""Right names for common wrong ones, by preference; the first one that the tool has is meant."""

_SENTENCES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("format", "is_html", "html_format", "body_type", "content_type", "mime_type", "type", "body_format"),
            ("html", "Give HTML in `html`, and plain text in `body`."),
        ),
        **dict.fromkeys(
            ("draft", "is_draft", "save_as_draft"), ("preview", "There are no drafts; `preview` shows an email unsent.")
        ),
        **dict.fromkeys(
            ("thread_id", "conversation_id", "reply_to_message_id"),
            ("in_reply_to", "To answer an email, give its Message-ID in `in_reply_to`."),
        ),
    }
)
"""Wrong names that no single argument stands for: an argument of the tools concerned, and what to do."""

_OF_TIME = re.compile(
    r"(?:^|_)(?:at|on|date|time|day|hours?|minutes?|later|when|delay|delayed|defer|schedul\w*|future)(?:_|$)"
)
_FEWEST_LETTERS = 3
_CLOSE = 0.8


def suggest(name: str, known: Collection[str], elsewhere: Mapping[str, str]) -> str:
    """Return a sentence that says what to give instead of `name`.

    `elsewhere` maps arguments that the tool lacks to the tool that has them, or to a sentence.
    """
    lower = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:60].strip()).lower().replace("-", "_").strip("_")
    for candidates in (_meant(lower), _close(lower, [*known, *elsewhere])):
        for candidate in candidates:
            if candidate in known:
                return f"Did you mean {brief(candidate)}?"
            if candidate in elsewhere:
                return _point_elsewhere(candidate, elsewhere[candidate])
        if lower in _SENTENCES and _SENTENCES[lower][0] in known:
            return _SENTENCES[lower][1]
    if _OF_TIME.search(lower) and "scheduled_at" in elsewhere:
        return _point_elsewhere("scheduled_at", elsewhere["scheduled_at"])
    return f"Known are: {', '.join(known)}."


def _point_elsewhere(name: str, place: str) -> str:
    return place if " " in place else f"{brief(name)} is an argument of {place}: call that instead."


def _meant(name: str) -> Iterable[str]:
    return (name, *_SYNONYMS.get(name, ()))


def _close(name: str, candidates: Iterable[str]) -> list[str]:
    """Return the names that `name` may be a misspelling of: similar ones, and short ones with one letter changed."""
    names = list(dict.fromkeys(candidates))
    if len(name) < _FEWEST_LETTERS:
        return []
    similar = get_close_matches(name, names, n=1, cutoff=_CLOSE)
    return similar or [other for other in names if _differ_by_one(name, other)][:1]


def _differ_by_one(one: str, other: str) -> bool:
    same_length = len(one) == len(other) >= _FEWEST_LETTERS
    return same_length and (sum(a != b for a, b in zip(one, other, strict=True)) == 1 or sorted(one) == sorted(other))
