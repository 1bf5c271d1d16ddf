"""``edit`` an email that waits, and ``resolve`` one of which nobody knows whether it was sent."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outspool.cli import options
from outspool.cli.content import in_machine_zone, read_attachments, read_headers, read_text
from outspool.cli.runs import configure_logging, open_outspool, run

if TYPE_CHECKING:
    from outspool.api.results.email import EmailResult
    from outspool.domain.schedule import When


class Outcome(StrEnum):
    """The outcome of a doubtful email, as a person found it out."""

    SENT = "sent"
    CANCELED = "canceled"


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    cli.command()(edit)
    cli.command()(resolve)


def edit(
    email_id: options.Id,
    *,
    to: Annotated[
        list[str] | None, typer.Option(metavar="ADDRESS", help="Repeat it; all recipients are replaced.")
    ] = None,
    cc: options.Cc = None,
    bcc: options.Bcc = None,
    sender: options.Sender = None,
    reply_to: options.ReplyTo = None,
    subject: options.Subject = None,
    body: options.Body = None,
    body_file: options.BodyFile = None,
    html: options.Html = None,
    html_file: options.HtmlFile = None,
    attach: options.Attach = None,
    content_ids: options.ContentIds = None,
    headers: options.Headers = None,
    tags: options.Tags = None,
    priority: options.Priority = None,
    in_reply_to: options.InReplyTo = None,
    references: options.References = None,
    at: options.At = None,
    timezone: options.Timezone = None,
    delay: options.Delay = None,
    recurrence: options.Cron = None,
    until: options.Until = None,
    count: options.Count = None,
    as_json: options.AsJson = False,
) -> None:
    """Change an email that waits: only what you give, and `""` clears it (`--cc ""`, `--count 0`).

    A new list replaces the old one. A series keeps its own zone for `--at`.
    """
    from outspool.domain.schedule import When

    configure_logging(is_worker=False)
    lists = {"to": to, "cc": cc, "bcc": bcc, "reply_to": reply_to, "tags": tags, "references": references}
    texts = {"sender": sender, "subject": subject, "priority": priority}
    texts |= {"body": read_text("body", body, body_file), "html": read_text("html", html, html_file)}
    changes: dict[str, Any] = {name: value for name, value in texts.items() if value is not None}
    changes |= {name: [one for one in values if one] for name, values in lists.items() if values is not None}
    clearable = {"in_reply_to": in_reply_to, "recurrence": recurrence, "until": until, "count": count}
    changes |= {name: value or None for name, value in clearable.items() if value is not None}
    if attach is not None or content_ids:
        changes["attachments"] = read_attachments([file for file in attach or () if file.name], content_ids or ())
    if headers is not None:
        changes["headers"] = read_headers([line for line in headers if line])
    when = When(scheduled_at=at, timezone=timezone, delay=delay)
    email = run(_edit(email_id, changes, None if when == When() else when))
    from outspool.cli import printing

    printing.print_email(email, as_json=as_json, note=_describe(changes, when))


def resolve(
    email_id: options.Id,
    *,
    outcome: Annotated[Outcome, typer.Option("--as", help="What you have found out.")],
    as_json: options.AsJson = False,
) -> None:
    """Settle an `unknown` email: say whether it was sent. Its history records that you said so.

    With `--as canceled` it is never sent. To send it again instead, use `outspool retry`.
    """
    configure_logging(is_worker=False)
    email = run(_resolve(email_id, outcome))
    from outspool.cli import printing

    printing.print_email(email, as_json=as_json)


async def _edit(email_id: str, changes: dict[str, Any], when: When | None) -> EmailResult:
    from outspool.api.results.email import email_result
    from outspool.domain.series import Series

    async with open_outspool() as outspool:
        outbox = outspool.operators_outbox()
        email = await outbox.get(await outbox.expand_id(email_id))
        if when is not None and not isinstance(email, Series):
            when = in_machine_zone(when)
        email = await outbox.update(str(email.id), changes, when=when)
        return email_result(email, now=outbox.now(), outlook=await outbox.outlook(email), for_operator=True)


async def _resolve(email_id: str, outcome: Outcome) -> EmailResult:
    from outspool.api.results.email import email_result
    from outspool.domain.status import EmailStatus

    async with open_outspool() as outspool:
        outbox = outspool.operators_outbox()
        is_sent = outcome is Outcome.SENT
        email = await outbox.resolve(
            await outbox.expand_id(email_id), EmailStatus.SENT if is_sent else EmailStatus.CANCELED
        )
        return email_result(email, now=outbox.now(), outlook=await outbox.outlook(email), for_operator=True)


def _describe(changes: dict[str, Any], when: When) -> str:
    """Say which parts of the email were changed and which cleared."""
    times = {name: value for name, value in asdict(when).items() if value is not None}
    changes = {**changes, **times}
    names = {name: "from" if name == "sender" else name for name in changes}
    cleared = [names[name] for name, value in changes.items() if value in (None, "", [], {}) and name != "subject"]
    changed = [name for name in names.values() if name not in cleared]
    parts = (("Changed", changed), ("Cleared", cleared))
    return " ".join(f"{verb}: {', '.join(these)}." for verb, these in parts if these)
