"""Prints emails as tables and timelines, or as the JSON of the tools.

Text from strangers is never interpreted as markup. Times are in the machine's time zone, which stands beside them. A
terminal gets what fits its width; a pipe gets the same lines at any width.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from outspool.api.errors import name_variables_in_result
from outspool.cli.logs import printable
from outspool.cli.times import format_local, format_millisecond, format_minute
from outspool.cli.words import speak

if TYPE_CHECKING:
    from outspool.api.results.base import Result
    from outspool.api.results.email import EmailResult, StatusResult
    from outspool.api.results.listing import BriefResult, ListResult
    from outspool.api.results.preview import PreviewResult
    from outspool.api.results.templates import TemplatesResult

_WIDTH = 120
"""Columns if the output is not a terminal."""

_NARROW = 72
"""Below so many columns an email of a list takes several lines."""

_LIST_COLUMNS = ("id", "status", "when", "to", "subject")
_FIXED = 3
"""Columns of a list that are always whole: id, status and time."""

_GAP = 2
"""Spaces between two columns."""

_ID_ENDING = 8
"""Characters of an id in a list; any command takes them for the whole."""


def console() -> Console:
    """Return a console on stdout."""
    width = _WIDTH if _is_piped() else None
    return Console(markup=False, emoji=False, highlight=False, width=width)


def _is_piped() -> bool:
    """Tell whether a program reads the output: then no line is wrapped."""
    return not sys.stdout.isatty()


def print_json(result: Result) -> None:
    """Print a result as the tool of the same name returns it."""
    print_object(name_variables_in_result(result.model_dump(mode="json", by_alias=True, exclude_none=True)))


def print_object(value: dict[str, Any]) -> None:
    """Print a JSON object."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_email(email: EmailResult, *, as_json: bool, note: str = "") -> None:
    """Print a `note`, the summary, the id, and each recipient's reply; or everything `as_json`."""
    if as_json:
        print_json(email)
        return
    out = console()
    out.print(speak(f"{note} {email.summary}".strip()), soft_wrap=_is_piped())
    is_over = email.next_attempt_at is None
    if is_over and email.error is not None and email.error.hint and email.error.hint not in email.summary:
        out.print(speak(email.error.hint), soft_wrap=_is_piped())
    _print_notes(out, email.notes)
    out.print(f"id {email.id}", style="dim")
    out.print(_recipient_table(email))


def print_preview(preview: PreviewResult) -> None:
    """Print an email that was not sent, as its recipients would read it."""
    out = console()
    out.print(speak(preview.summary), soft_wrap=_is_piped())
    _print_notes(out, preview.notes)
    fields = {
        "From": [preview.from_],
        "To": preview.to,
        "Cc": preview.cc or [],
        "Bcc": preview.bcc or [],
        "Subject": [preview.subject],
    }
    for name, values in fields.items():
        if values:
            out.print(f"{name}: {', '.join(values)}", soft_wrap=_is_piped())
    out.print(f"\n{preview.text}", soft_wrap=_is_piped())
    if preview.html is not None:
        out.print("There is HTML beside this text; --open shows it in the browser.", style="dim", soft_wrap=_is_piped())


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
    out.print(speak(email.summary), soft_wrap=_is_piped())
    fields = Table.grid(padding=(0, 2))
    for name, value in _fields(email):
        fields.add_row(name, value)
    out.print(fields)
    out.print(_recipient_table(email))
    timeline = _table("time", "status", "what happened")
    timeline.columns[0].no_wrap = timeline.columns[1].no_wrap = True
    for event in email.events:
        by = f"by {event.by}" if event.by else ""
        happened = ", ".join(part for part in (event.code if event.code != event.status else "", by) if part)
        detail = speak(event.detail or "")
        timeline.add_row(
            format_millisecond(event.at), event.status, ": ".join(part for part in (happened, detail) if part)
        )
    out.print(timeline)


def _print_notes(out: Console, notes: Sequence[str] | None) -> None:
    for note in notes or ():
        out.print(f"Note: {speak(note)}", soft_wrap=_is_piped())


def print_list(page: ListResult) -> None:
    """Print one page of emails; for a terminal as wide as it is and with the counts, for a pipe one line each."""
    from outspool.api.results.listing import format_counts

    if _is_piped():
        _print_lines(page)
        return
    out = console()
    if page.emails:
        out.print(_wide_list(page.emails, out.width) if out.width >= _NARROW else _narrow_list(page.emails))
    counts = format_counts(page.counts) or "no emails yet"
    out.print(f"In the whole outbox: {counts}.", soft_wrap=_is_piped())
    if page.next_cursor:
        out.print(f"More follow: --cursor {page.next_cursor}", soft_wrap=_is_piped())


def _print_lines(page: ListResult) -> None:
    """Print a line with tabs for each email: id, status, time, recipients and subject."""
    for email in page.emails:
        columns = (email.id, email.status, _moment(email).astimezone().isoformat(), ", ".join(email.to), email.subject)
        typer.echo("\t".join(printable(column) for column in columns))
    if page.next_cursor:
        typer.echo(f"More follow: --cursor {page.next_cursor}", err=True)


def _wide_list(emails: Sequence[BriefResult], width: int) -> Table:
    """Return a table as wide as the terminal: recipients and subject share what the other columns leave."""
    table = _table(*_LIST_COLUMNS)
    rows = [(e.id[-_ID_ENDING:], e.status, format_minute(_moment(e)), _to(e), e.subject) for e in emails]
    whole = [max(map(cell_len, (header, *cells))) for header, *cells in zip(_LIST_COLUMNS, *rows, strict=True)]
    left = width - sum(whole[:_FIXED]) - _GAP * (len(whole) - 1)
    to = min(whole[_FIXED], max(left // 2, left - whole[-1]))
    for column, column_width in zip(table.columns, (*whole[:_FIXED], to, left - to), strict=True):
        column.width, column.no_wrap, column.overflow = column_width, True, "ellipsis"
    for row in rows:
        table.add_row(*row)
    return table


def _narrow_list(emails: Sequence[BriefResult]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for email in emails:
        table.add_row(f"{email.id[-_ID_ENDING:]} {email.status} {format_minute(_moment(email))}")
        table.add_row(f"  to {_to(email)}")
        table.add_row(f"  {email.subject}")
    return table


def _to(email: BriefResult) -> str:
    """Return the first recipient and the number of the others, which a column has no room for."""
    first = email.to[0] if email.to else ""
    return f"{first} +{len(email.to) - 1}" if len(email.to) > 1 else first


def _moment(email: BriefResult) -> datetime:
    return email.sent_at or email.scheduled_at or email.created_at


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
    hint = (("what to do", speak(email.error.hint)),) if email.error.hint else ()
    return (("problem", speak(f"{email.error.code}: {email.error.message}")), *hint)


def _recipient_table(email: EmailResult) -> Table:
    """Return a table of the recipients; with a column for replies if there are any."""
    replies = [
        " ".join(str(part) for part in (recipient.code, recipient.enhanced_code, recipient.reply) if part)
        for recipient in email.recipients
    ]
    columns = ("recipient", "as", "status", *(("what its server said",) if any(replies) else ()))
    table = _table(*columns)
    for recipient, reply in zip(email.recipients, replies, strict=True):
        table.add_row(*(recipient.address, recipient.kind, recipient.status, reply)[: len(columns)])
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table
