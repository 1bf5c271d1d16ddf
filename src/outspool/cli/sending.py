"""``send`` an email from a terminal or a script, and ``attach``: store a file for emails to come."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from outspool.cli.runs import AsJson, Sandbox, configure_logging, open_outspool, run
from outspool.errors import InvalidArgument

if TYPE_CHECKING:
    from outspool.api.results.email import EmailResult
    from outspool.domain.schedule import When
    from outspool.services.acceptance.validation import EmailRequest

_LONGEST_WAIT = 600
_NOT_SERVED = 3
"""Exit code if the email was accepted but not sent to every recipient."""


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    cli.command()(send)
    cli.command()(attach)


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
    attach: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A file that you may read, not a hidden one. Repeat it.")
    ] = None,
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
    """Send an email, and wait for the outcome.

    While waiting it sends due emails itself, if an account is configured; what is not sent by then is left to
    `outspool worker` or any other running outspool. Exits with 3 if it was accepted but not sent to every
    recipient.
    """
    from outspool.domain.schedule import When
    from outspool.services.acceptance.attachment_requests import AttachmentRequest
    from outspool.services.acceptance.validation import EmailRequest

    configure_logging(is_worker=False)
    request = EmailRequest(
        to=to or (),
        cc=cc or (),
        bcc=bcc or (),
        sender=sender,
        subject=subject,
        body=_read_text("body", body, body_file),
        html=_read_text("html", html, html_file),
        template=template,
        variables=_parse_object(variables),
        attachments=[AttachmentRequest(path=str(file), filename=file.name) for file in attach or ()],
        tags=tags or (),
    )
    when = When(scheduled_at=at, timezone=timezone, delay=delay, recurrence=recurrence, until=until, count=count)
    email = run(_send(request, None if when == When() else when, key, wait=wait, sandbox=sandbox))
    from outspool.cli import printing

    printing.print_email(email, as_json=as_json)
    if email.status in ("failed", "partial", "unknown"):
        raise typer.Exit(_NOT_SERVED)


async def _send(
    request: EmailRequest, when: When | None, key: str | None, *, wait: float, sandbox: bool
) -> EmailResult:
    from outspool.api.results.email import email_result
    from outspool.domain.status import UNSETTLED

    async with open_outspool(sandbox=sandbox) as outspool:
        email = await outspool.operators_outbox().accept(request, when=when, idempotency_key=key)
    async with outspool.run(worker=wait > 0 and email.status in UNSETTLED):
        try:
            email = await outspool.outbox.wait_for_outcome(email, max_wait=wait)
        except asyncio.CancelledError:
            # After an interrupted wait the user must not believe that the email was not sent, and send it again.
            typer.echo(f"Accepted, and not canceled: see `outspool show {email.id}`.", err=True)
            raise
        return email_result(
            email, now=outspool.outbox.now(), outlook=await outspool.outbox.outlook(email), for_operator=True
        )


def attach(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that you may read, not a hidden one.")],
) -> None:
    """Store FILE and print its handle, which is what the argument `blob` of an attachment takes.

    It is kept for 30 days, and for as long as any email has it.
    """
    configure_logging(is_worker=False)
    typer.echo(run(_attach(file)))


async def _attach(file: Path) -> str:
    async with open_outspool() as outspool:
        return await outspool.attach(file)


def _parse_object(text: str | None) -> dict[str, Any]:
    """Parse a JSON object. Raises `InvalidArgument`."""
    try:
        parsed = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidArgument("--variables is no object in JSON.", 'Write it like \'{"title": "Hello"}\'.')
    return parsed


def _read_text(name: str, text: str | None, file: str | None) -> str | None:
    """Return the given text, or the content of the given file. Raises `InvalidArgument`."""
    if file is None:
        return text
    if text is not None:
        raise InvalidArgument(f"--{name} and --{name}-file are both given.", "Give one of them.")
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidArgument(f"--{name}-file cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"--{name}-file is not UTF-8 text.", "Convert it first.") from None
