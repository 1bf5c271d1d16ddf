"""Prints emails as tables and timelines, or as the JSON of the tools.

Text from strangers is never interpreted as markup. Times are in the machine's time zone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from outspool.api.errors import name_variables, name_variables_in_result

if TYPE_CHECKING:
    from outspool.api.results.base import Result
    from outspool.api.results.email import EmailResult, StatusResult
    from outspool.api.results.listing import ListResult
    from outspool.api.results.templates import TemplatesResult

_WIDTH = 120
"""Columns if the output is not a terminal."""


def console() -> Console:
    """Return a console on stdout."""
    width = None if sys.stdout.isatty() else _WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_json(result: Result) -> None:
    """Print a result as the tool of the same name returns it."""
    payload = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    typer.echo(json.dumps(name_variables_in_result(payload), indent=2, ensure_ascii=False))


def print_email(email: EmailResult, *, as_json: bool) -> None:
    """Print the summary, the id, and each recipient's reply; or everything `as_json`."""
    if as_json:
        print_json(email)
        return
    out = console()
    out.print(name_variables(email.summary), soft_wrap=True)
    out.print(f"id {email.id}", style="dim")
    out.print(_recipient_table(email))


def print_templates(result: TemplatesResult) -> None:
    """Print the purpose and variables of each template, or why it cannot be used."""
    out = console()
    table = _table("template", "needs", "may be given", "what it is for")
    for template in result.templates:
        purpose = f"cannot be used: {template.error}" if template.error else template.description or ""
        table.add_row(template.name, ", ".join(template.required), ", ".join(template.defaults), purpose)
    out.print(table)


def print_details(email: StatusResult) -> None:
    """Print everything about one email."""
    out = console()
    out.print(name_variables(email.summary), soft_wrap=True)
    fields = Table.grid(padding=(0, 2))
    for name, value in _fields(email):
        fields.add_row(name, value)
    out.print(fields)
    out.print(_recipient_table(email))
    timeline = _table("time", "status", "why", "by", "what was said")
    for event in email.events:
        timeline.add_row(
            format_precise(event.at), event.status, event.code, event.by or "", name_variables(event.detail or "")
        )
    out.print(timeline)


def print_list(page: ListResult) -> None:
    """Print one page of emails, and the counts."""
    from outspool.api.results.listing import format_counts

    out = console()
    if page.emails:
        table = _table("id", "status", "when", "to", "subject")
        table.columns[0].no_wrap = True
        table.columns[2].no_wrap = True
        for email in page.emails:
            when = email.sent_at or email.scheduled_at or email.created_at
            table.add_row(email.id, email.status, format_local(when), ", ".join(email.to), email.subject)
        out.print(table)
    counts = format_counts(page.counts) or "no emails yet"
    out.print(f"In the whole outbox: {counts}.", soft_wrap=True)
    if page.next_cursor:
        out.print(f"More follow: --cursor {page.next_cursor}", soft_wrap=True)


def format_local(moment: datetime) -> str:
    """Format a time in seconds, in the machine's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def format_precise(moment: datetime) -> str:
    """Format a time in milliseconds, in the machine's time zone."""
    return moment.astimezone().replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def _fields(email: StatusResult) -> Sequence[tuple[str, str]]:
    times = {
        "created": email.created_at,
        "scheduled for": email.scheduled_at,
        "sent": email.sent_at,
        "next attempt": email.next_attempt_at,
    }
    return (
        ("id", email.id),
        ("status", email.status),
        ("attempts", str(email.attempts)),
        ("owner", email.owner or ""),
        *((("asked for by", email.agent),) if email.agent else ()),
        ("from", email.from_),
        ("subject", email.subject),
        *(
            ("attached", f"{file.filename} ({file.content_type}, {file.size:,} bytes)")
            for file in email.attachments or ()
        ),
        *((name, format_local(moment)) for name, moment in times.items() if moment),
        *_series(email),
        ("message-id", email.message_id),
        *_problem(email),
    )


def _series(email: StatusResult) -> Sequence[tuple[str, str]]:
    rule = email.recurrence
    if rule is None:
        return (("made by series", email.series_id),) if email.series_id else ()
    ends = ((f"until {format_local(rule.until)}",) if rule.until else ()) + (
        (f"{rule.count} times",) if rule.count else ()
    )
    return (("repeats", ", ".join((f"{rule.recurrence} in {rule.timezone}", *ends))), ("made so far", str(rule.made)))


def _problem(email: StatusResult) -> Sequence[tuple[str, str]]:
    if email.error is None:
        return ()
    hint = (("what to do", name_variables(email.error.hint)),) if email.error.hint else ()
    return (("problem", name_variables(f"{email.error.code}: {email.error.message}")), *hint)


def _recipient_table(email: EmailResult) -> Table:
    table = _table("recipient", "as", "status", "what its server said")
    for recipient in email.recipients:
        reply_parts = (recipient.code, recipient.enhanced_code, recipient.reply)
        table.add_row(
            recipient.address, recipient.kind, recipient.status, " ".join(str(part) for part in reply_parts if part)
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
