"""The operator's hand on the outbox: ``list``, ``show``, ``send``, ``cancel``, ``retry``, and what belongs to them."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outspool.cli.runs import Sandbox, configure_logging, opened, run
from outspool.errors import InvalidArgument

if TYPE_CHECKING:
    from outspool.domain.schedule import When
    from outspool.services.intake import Draft
    from outspool.tools.results.email import EmailResult, StatusResult
    from outspool.tools.results.listing import ListResult
    from outspool.tools.results.templates import TemplatesResult

_MOST = 100
_LONGEST_WAIT = 600
_NOT_SERVED = 3
"""The exit code of `send` when the email was accepted and not every recipient's server took it."""

Id = Annotated[str, typer.Argument(metavar="ID", help="The email's whole id, as `outspool list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the MCP tool returns.")]


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    cli.command("list")(list_emails)
    for command in (show, send, cancel, retry, pause, resume, templates):
        cli.command()(command)


def list_emails(
    *,
    status: Annotated[str | None, typer.Option(help="sent, failed, scheduled, deferred, unknown …")] = None,
    recipient: Annotated[str | None, typer.Option(help="An address in to, cc or bcc.")] = None,
    query: Annotated[str | None, typer.Option(help="Words in the subject.")] = None,
    tag: Annotated[str | None, typer.Option()] = None,
    series: Annotated[str | None, typer.Option(metavar="ID", help="What the series of this id made.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List emails, newest first."""
    configure_logging(working=False)
    filters = {"status": status, "recipient": recipient, "query": query, "tag": tag, "series": series}
    page = run(_list({**filters, "limit": limit, "cursor": cursor}))
    from outspool.cli import printing

    if as_json:
        printing.print_json(page)
    else:
        printing.print_list(page)


def show(email_id: Id, *, as_json: AsJson = False) -> None:
    """Show one email: every recipient, and everything that happened to it."""
    configure_logging(working=False)
    story = run(_show(email_id))
    from outspool.cli import printing

    if as_json:
        printing.print_json(story)
    else:
        printing.print_story(story)


def send(
    *,
    to: Annotated[list[str] | None, typer.Option(help="Repeat it for each recipient.")] = None,
    cc: Annotated[list[str] | None, typer.Option()] = None,
    bcc: Annotated[list[str] | None, typer.Option(help="Hidden from the other recipients.")] = None,
    sender: Annotated[str | None, typer.Option("--from", help="Instead of EMAIL_FROM.")] = None,
    subject: Annotated[str, typer.Option()] = "",
    body: Annotated[str | None, typer.Option(help="The text itself.")] = None,
    body_file: Annotated[str | None, typer.Option(metavar="FILE", help="The text, from a file; - is stdin.")] = None,
    html: Annotated[str | None, typer.Option(help="The HTML itself.")] = None,
    html_file: Annotated[str | None, typer.Option(metavar="FILE", help="The HTML, from a file; - is stdin.")] = None,
    template: Annotated[str | None, typer.Option(help="A name from `outspool templates`, instead of a text.")] = None,
    variables: Annotated[str | None, typer.Option(metavar="JSON", help="What the template needs.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="A label for `outspool list --tag`.")] = None,
    at: Annotated[str | None, typer.Option(help="Send later: 2026-11-23T09:00:00+01:00.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="For --recurrence, or --at without offset: Europe/Berlin.")
    ] = None,
    delay: Annotated[str | None, typer.Option(help="Send later: PT90M, PT2H, P1D.")] = None,
    recurrence: Annotated[str | None, typer.Option(metavar="CRON", help='Send a series: "0 9 * * mon".')] = None,
    until: Annotated[str | None, typer.Option(help="The last day, or time, of the series.")] = None,
    count: Annotated[int | None, typer.Option(help="How many emails the series makes.")] = None,
    key: Annotated[str | None, typer.Option(help="Idempotency key: the same call again sends nothing more.")] = None,
    wait: Annotated[float, typer.Option(min=0, max=_LONGEST_WAIT, help="Seconds to wait for the outcome.")] = 10,
    sandbox: Sandbox = False,
    as_json: AsJson = False,
) -> None:
    """Accept an email, and wait for what comes of it.

    While it waits it sends what is due itself, if an account is configured; what is not sent by then is left to
    `outspool worker` or any other outspool that runs. Exits with 3 if it was accepted and not all recipients were
    served.
    """
    from outspool.domain.schedule import When
    from outspool.services.intake import Draft

    configure_logging(working=False)
    draft = Draft(
        to=to or (),
        cc=cc or (),
        bcc=bcc or (),
        sender=sender,
        subject=subject,
        body=_text("body", body, body_file),
        html=_text("html", html, html_file),
        template=template,
        variables=_object(variables),
        tags=tags or (),
    )
    when = When(scheduled_at=at, timezone=timezone, delay=delay, recurrence=recurrence, until=until, count=count)
    email = run(_send(draft, None if when == When() else when, key, wait=wait, sandbox=sandbox))
    _print_email(email, as_json=as_json)
    if email.status in ("failed", "partial", "unknown"):
        raise typer.Exit(_NOT_SERVED)


def cancel(email_id: Id, *, as_json: AsJson = False) -> None:
    """Cancel an email that still waits: it is never sent then."""
    configure_logging(working=False)
    _print_email(run(_change("cancel", email_id)), as_json=as_json)


def retry(email_id: Id, *, as_json: AsJson = False) -> None:
    """Send an email again, to whoever does not have it; a deferred one at once.

    After `unknown` a recipient may get it twice.
    """
    configure_logging(working=False)
    _print_email(run(_change("retry", email_id)), as_json=as_json)


def pause(email_id: Id, *, as_json: AsJson = False) -> None:
    """Let a series rest: it makes no emails until it is resumed."""
    configure_logging(working=False)
    _print_email(run(_change("pause", email_id)), as_json=as_json)


def resume(email_id: Id, *, as_json: AsJson = False) -> None:
    """Let a paused series go on with its next time; what it missed is not made up for."""
    configure_logging(working=False)
    _print_email(run(_change("resume", email_id)), as_json=as_json)


def templates(*, as_json: AsJson = False) -> None:
    """List the templates: what each needs in --variables, and what it may be given."""
    configure_logging(working=False)
    found = run(_templates())
    from outspool.cli import printing

    if as_json:
        printing.print_json(found)
    else:
        printing.print_templates(found)


async def _templates() -> TemplatesResult:
    from outspool.tools.results.templates import templates_result

    async with opened() as outspool:
        return templates_result(await outspool.outbox.list_templates())


async def _list(filters: dict[str, Any]) -> ListResult:
    from outspool.tools.results.listing import list_result

    async with opened() as outspool:
        outbox = outspool.outbox
        page = await outbox.find(**filters)
        return list_result(
            page.emails, next_cursor=page.next_cursor, counts=page.counts, now=outbox.now(), pause=await outbox.pause()
        )


async def _show(email_id: str) -> StatusResult:
    from outspool.tools.results.email import status_result

    async with opened() as outspool:
        outbox = outspool.outbox
        email = await outbox.get(email_id)
        return status_result(email, now=outbox.now(), pause=await outbox.pause())


async def _send(draft: Draft, when: When | None, key: str | None, *, wait: float, sandbox: bool) -> EmailResult:
    from outspool.domain.status import UNSETTLED
    from outspool.tools.results.email import email_result

    async with opened(sandbox=sandbox) as outspool:
        email = await outspool.outbox.accept(draft, when=when, idempotency_key=key)
    async with outspool.running(worker=wait > 0 and email.status in UNSETTLED):
        try:
            email = await outspool.outbox.settle(email, within=wait)
        except asyncio.CancelledError:
            # Whoever interrupts the wait must not take the email for unsent, and send it again.
            typer.echo(f"Accepted, and not canceled: see `outspool show {email.id}`.", err=True)
            raise
        return email_result(email, now=outspool.outbox.now(), pause=await outspool.outbox.pause())


async def _change(verb: str, email_id: str) -> EmailResult:
    from outspool.tools.results.email import email_result

    async with opened() as outspool:
        outbox = outspool.outbox
        match verb:
            case "cancel":
                email = await outbox.cancel(email_id)
            case "retry":
                email = await outbox.retry(email_id)
            case _:
                email = await outbox.update(email_id, {"paused": verb == "pause"})
        return email_result(email, now=outbox.now(), pause=await outbox.pause())


def _print_email(email: EmailResult, *, as_json: bool) -> None:
    from outspool.cli import printing

    if as_json:
        printing.print_json(email)
    else:
        printing.print_email(email)


def _object(text: str | None) -> dict[str, Any]:
    """Return the object that is written as JSON. Raises `InvalidArgument`."""
    try:
        read = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise InvalidArgument("--variables is no object in JSON.", 'Write it like \'{"title": "Hello"}\'.')
    return read


def _text(name: str, given: str | None, file: str | None) -> str | None:
    """Return the text given, or read from where it is said to be. Raises `InvalidArgument`."""
    if file is None:
        return given
    if given is not None:
        raise InvalidArgument(f"--{name} and --{name}-file are both given.", "Give one of them.")
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"--{name}-file cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"--{name}-file is not UTF-8 text.", "Convert it first.") from None
