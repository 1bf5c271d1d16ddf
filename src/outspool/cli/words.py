"""Words texts of the outbox for a terminal: commands instead of tools, options instead of arguments, local times.

The outbox and its errors speak the vocabulary of the tools. A person at a terminal knows commands and options.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from types import MappingProxyType

from outspool.api.errors import describe, name_variables
from outspool.cli.logs import printable
from outspool.cli.times import localize
from outspool.errors import OutspoolError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "send_email": "send",
        "schedule_email": "send --at",
        "send_batch": "send",
        "get_status": "show",
        "list_emails": "list",
        "update_email": "edit",
        "cancel_email": "cancel",
        "retry_email": "retry",
        "list_templates": "templates",
    }
)
"""The command for each tool."""

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "to": "--to",
        "cc": "--cc",
        "bcc": "--bcc",
        "reply_to": "--reply-to",
        "from": "--from",
        "subject": "--subject",
        "body": "--body",
        "html": "--html",
        "in_reply_to": "--in-reply-to",
        "references": "--reference",
        "headers": "--header",
        "tags": "--tag",
        "priority": "--priority",
        "attachments": "--attach",
        "content_id": "--content-id",
        "template": "--template",
        "variables": "--variables",
        "idempotency_key": "--key",
        "preview": "--preview",
        "wait": "--wait",
        "scheduled_at": "--at",
        "timezone": "--timezone",
        "delay": "--delay",
        "recurrence": "--recurrence",
        "until": "--until",
        "count": "--count",
        "status": "--status",
        "recipient": "--recipient",
        "query": "--query",
        "tag": "--tag",
        "series": "--series",
        "limit": "--limit",
        "cursor": "--cursor",
        "next_cursor": "--cursor",
        "email_id": "ID",
        "id": "ID",
    }
)
"""The option for each argument."""

_NAMES = "|".join(sorted(OPTIONS, key=len, reverse=True))
_PLAIN = "|".join(name for name in OPTIONS if "_" not in name)
_ARGUMENT = re.compile(r"\bargument\b")
_FILE = re.compile(r"\battachments\[\d+\](?:\.\w+)?|(?<= )(?:path|blob)(?= \")")
_NEEDLESS = re.compile(r"(?<=no file )path (?=\")|, or give `text` or `content`")
_TOOL = re.compile(rf"`?\b({'|'.join(COMMANDS)})\b`?")
_TICKED = re.compile(rf"`({_NAMES})`")
# "timezone" in one word is the argument: sentences say "time zone".
_UNDERSCORED = re.compile(rf"(?<![\w-])({'|'.join(name for name in OPTIONS if '_' in name)}|timezone)(?!\w)")
_FIRST = re.compile(
    rf"(?:(?<=[:.] )|^)({_PLAIN})(?=\[\d+\]|:? \"|: | (?:is|are|has|holds|was|must|needs|and|beside)\b)"
)
_JOINT = r", (?:and |or )?| and | or | nor | beside "
_CHAIN = re.compile(rf"(?<![\w-])(?:--[\w-]+|{_NAMES})(?:(?:{_JOINT})(?:--[\w-]+|{_NAMES}))+(?!\w)")
_ALONE = re.compile(r"(?<![\w-])(delay(?= P)|recurrence(?= needs|\.| is\b))")
_NAME = re.compile(rf"(?<![\w-])({_NAMES})(?!\w)")
_QUOTED = re.compile(r'("[^"]*")')


def speak(text: str) -> str:
    """Return a summary, a problem or an error in the words of the command line. Quoted words stay as they are."""
    parts = _QUOTED.split(name_variables(text))
    return "".join(part if place % 2 else _reword(part, parts, place) for place, part in enumerate(parts))


def describe_error(error: OutspoolError) -> str:
    """Return ``code: message hint`` on one line, in the words of the command line."""
    return printable(speak(describe(error)))


def wrap_for_terminal(text: str) -> str:
    """Return `text` broken between words where stderr is a terminal; a program gets one line."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _reword(part: str, parts: list[str], place: int) -> str:
    """Reword what stands between two quotations; what follows decides whether a word is an argument."""
    quote = '"' if place + 1 < len(parts) else ""
    text = f"{part}{quote}"
    for pattern, reword in _RULES:
        text = pattern.sub(reword, text)
    return localize(text.removesuffix(quote))


def _name_option(match: re.Match[str]) -> str:
    return OPTIONS[match[1]]


_RULES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (_ARGUMENT, lambda _match: "option"),
    (_NEEDLESS, lambda _match: ""),
    (_FILE, lambda _match: "--attach"),
    (_TOOL, lambda match: f"`outspool {COMMANDS[match[1]]}`"),
    (_TICKED, _name_option),
    (_UNDERSCORED, _name_option),
    (_FIRST, _name_option),
    (_ALONE, _name_option),
    (_CHAIN, lambda match: _NAME.sub(_name_option, match[0])),
)
