"""``send`` an email from a terminal or a script, and ``attach``: store a file for emails to come."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outspool.cli import options
from outspool.cli.content import in_machine_zone, parse_object, read_attachments, read_headers, read_text
from outspool.cli.runs import Sandbox, configure_logging, open_outspool, run
from outspool.errors import Refusal

if TYPE_CHECKING:
    from outspool.api.results.email import EmailResult
    from outspool.api.results.preview import PreviewResult
    from outspool.domain.schedule import When
    from outspool.services.acceptance.validation import EmailRequest

_LONGEST_WAIT = 600
_NOT_SENT = 3
"""Exit code if the email was accepted, and not sent to every recipient within the wait."""
_DONE = ("sent", "scheduled", "recurring", "paused", "ended")
_TEXT_PROMPT = "Text (end it with Ctrl-Z and Enter):" if sys.platform == "win32" else "Text (end it with Ctrl-D):"


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    cli.command()(send)
    cli.command()(attach)


def send(
    *,
    to: Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Repeat it for each recipient.")] = None,
    cc: options.Cc = None,
    bcc: options.Bcc = None,
    sender: options.Sender = None,
    reply_to: options.ReplyTo = None,
    subject: options.Subject = None,
    body: options.Body = None,
    body_file: options.BodyFile = None,
    html: options.Html = None,
    html_file: options.HtmlFile = None,
    template: Annotated[
        str | None, typer.Option(metavar="NAME", help="A name from `outspool templates`, instead of a text.")
    ] = None,
    variables: Annotated[str | None, typer.Option(metavar="JSON", help="What the template needs.")] = None,
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
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Idempotency key: the same call again sends nothing more.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, max=_LONGEST_WAIT, metavar="SECONDS", help="How long to wait for the outcome.")
    ] = 10,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what would be sent; store and send nothing.")
    ] = False,
    in_browser: Annotated[bool, typer.Option("--open", help="Preview it in the browser; send nothing.")] = False,
    sandbox: Sandbox = False,
    as_json: options.AsJson = False,
) -> None:
    """Send an email, and wait for the outcome. At a terminal it asks for what is missing.

    While waiting it sends due emails itself, if an account is configured; what is not sent by then is left to
    `outspool worker` or any other running outspool. Exits with 3 if the email was accepted, and by the end of the wait
    not sent to every recipient; an email for later, or `--wait 0`, exits with 0.
    """
    from outspool.domain.schedule import When
    from outspool.services.acceptance.validation import EmailRequest

    configure_logging(is_worker=False)
    text, markup = read_text("body", body, body_file), read_text("html", html, html_file)
    lacks_recipients, lacks_text = not (to or cc or bcc), text is None and markup is None and template is None
    if lacks_recipients:
        to = _ask_recipients()
    if lacks_text and _is_terminal():
        subject = _ask_subject() if subject is None else subject
        text = _ask_text()
    request = EmailRequest(
        to=to or (),
        cc=cc or (),
        bcc=bcc or (),
        sender=sender,
        reply_to=reply_to or (),
        subject=subject or "",
        body=text,
        html=markup,
        template=template,
        variables=parse_object(variables),
        attachments=read_attachments(attach or (), content_ids or ()),
        headers=read_headers(headers or ()),
        tags=tags or (),
        priority=priority or "normal",
        in_reply_to=in_reply_to,
        references=references or (),
    )
    when = When(scheduled_at=at, timezone=timezone, delay=delay, recurrence=recurrence, until=until, count=count)
    planned = None if when == When() else in_machine_zone(when)
    if preview or in_browser:
        _show_preview(run(_preview(request, planned, sandbox=sandbox)), request, in_browser=in_browser, as_json=as_json)
        return
    email = run(_send(request, planned, key, wait=wait, sandbox=sandbox))
    from outspool.cli import printing

    printing.print_email(email, as_json=as_json)
    if email.status not in _DONE and not (wait == 0 and email.status == "queued"):
        raise typer.Exit(_NOT_SENT)


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask_recipients() -> list[str]:
    """Ask for the recipients; without a terminal that is wrong usage."""
    if not _is_terminal():
        raise typer.BadParameter("nobody is given. Say who gets the email: --to ada@example.com", param_hint="--to")
    recipients: list[str] = typer.prompt("To", err=True, value_proc=_read_recipients)
    return recipients


def _read_recipients(answer: str) -> list[str]:
    """Return the addresses of an answer; a wrong one is asked for again, before anything else is typed."""
    from outspool.domain.address import parse_mailboxes

    addresses = [address.strip() for address in answer.split(",") if address.strip()]
    try:
        parse_mailboxes(addresses, "to")
    except Refusal as refusal:
        raise typer.BadParameter(f"{refusal.message} {refusal.hint}".strip()) from None
    return addresses


def _ask_subject() -> str:
    return str(typer.prompt("Subject", default="", show_default=False, err=True))


def _ask_text() -> str:
    typer.echo(_TEXT_PROMPT, err=True)
    return sys.stdin.read()


async def _send(
    request: EmailRequest, when: When | None, key: str | None, *, wait: float, sandbox: bool
) -> EmailResult:
    from outspool.api.results.email import email_result
    from outspool.cli.waiting import is_worth_waiting, wait_while_it_may_be_sent
    from outspool.domain.outlook import Senders
    from outspool.message.notes import list_notes

    async with open_outspool(sandbox=sandbox) as outspool:
        outbox = outspool.operators_outbox()
        email = await outbox.accept(request, when=when, idempotency_key=key)
        is_waiting = is_worth_waiting(email, outlook=await outbox.outlook(email), now=outbox.now(), seconds=wait)
    async with outspool.run(worker=is_waiting, senders=Senders.NONE):
        try:
            if is_waiting:
                if sys.stderr.isatty():
                    typer.echo("Accepted. Waiting for the mail server; Ctrl-C leaves the email to a worker.", err=True)
                email = await wait_while_it_may_be_sent(outbox, email, seconds=wait)
        except asyncio.CancelledError:
            # After an interrupted wait the user must not believe that the email was not sent, and send it again.
            typer.echo(f"Accepted, and not canceled: see `outspool show {email.id}`.", err=True)
            raise
        result = email_result(email, now=outbox.now(), outlook=await outbox.outlook(email), for_operator=True)
        return result.model_copy(update={"notes": list_notes(email.content) or None})


async def _preview(request: EmailRequest, when: When | None, *, sandbox: bool) -> PreviewResult:
    from outspool.api.results.preview import preview_result
    from outspool.message.notes import list_notes

    async with open_outspool(sandbox=sandbox) as outspool:
        outbox = outspool.operators_outbox()
        preview = await outbox.preview(request, when=when)
        result = preview_result(preview, now=outbox.now(), outlook=await outbox.outlook(preview.email))
        return result.model_copy(update={"notes": list_notes(preview.email.content) or None})


def _show_preview(preview: PreviewResult, request: EmailRequest, *, in_browser: bool, as_json: bool) -> None:
    from outspool.cli import printing

    if as_json:
        printing.print_json(preview)
    else:
        printing.print_preview(preview)
    if in_browser:
        from outspool.cli.browser import open_page

        open_page(preview, request.attachments)


def attach(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that you may read, not a hidden one.")],
    *,
    as_json: options.AsJson = False,
) -> None:
    """Store FILE and print its handle, which is what the argument `blob` of an attachment takes.

    It is kept for 30 days, and for as long as any email has it.
    """
    configure_logging(is_worker=False)
    handle = run(_attach(file))
    from outspool.cli import printing

    if as_json:
        printing.print_object({"blob": handle, "filename": file.name})
    else:
        typer.echo(handle)


async def _attach(file: Path) -> str:
    async with open_outspool() as outspool:
        return await outspool.attach(file)
