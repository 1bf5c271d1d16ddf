"""The operator's commands on stored emails: ``list``, ``show``, ``cancel``, ``retry`` and others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from outspool.cli.options import AsJson, Id, complete_status
from outspool.cli.runs import configure_logging, open_outspool, run

if TYPE_CHECKING:
    from outspool.api.results.email import EmailResult, StatusResult
    from outspool.api.results.listing import ListResult
    from outspool.api.results.templates import TemplatesResult

_MAX_LIMIT = 100


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    cli.command("list")(list_emails)
    for command in (show, cancel, retry, pause, resume, templates):
        cli.command()(command)


def list_emails(
    *,
    status: Annotated[
        str | None,
        typer.Option(help="sent, failed, scheduled, deferred, unknown …", autocompletion=complete_status),
    ] = None,
    recipient: Annotated[str | None, typer.Option(help="An address in to, cc or bcc.")] = None,
    query: Annotated[str | None, typer.Option(help="Words in the subject.")] = None,
    tag: Annotated[str | None, typer.Option()] = None,
    series: Annotated[str | None, typer.Option(metavar="ID", help="What this series made.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MAX_LIMIT)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List emails, newest first."""
    configure_logging(is_worker=False)
    filters = {"status": status, "recipient": recipient, "query": query, "tag": tag, "series": series}
    page = run(_list({**filters, "limit": limit, "cursor": cursor}))
    from outspool.cli import printing

    if as_json:
        printing.print_json(page)
    else:
        printing.print_list(page)


def show(email_id: Id, *, as_json: AsJson = False) -> None:
    """Show one email: every recipient, and everything that happened to it."""
    configure_logging(is_worker=False)
    details = run(_show(email_id))
    from outspool.cli import printing

    if as_json:
        printing.print_json(details)
    else:
        printing.print_details(details)


def cancel(email_id: Id, *, as_json: AsJson = False) -> None:
    """Cancel a waiting email, so that it is never sent."""
    _run_command("cancel", email_id, as_json=as_json)


def retry(
    email_id: Id,
    *,
    override_policy: Annotated[
        bool,
        typer.Option("--override-policy", help="Send this email although the policy refuses it; its history says so."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send an email again, to the recipients who lack it; a deferred one at once.

    After `unknown` a recipient may get it twice.
    """
    _run_command("override" if override_policy else "retry", email_id, as_json=as_json)


def pause(email_id: Id, *, as_json: AsJson = False) -> None:
    """Pause a series: it makes no emails until it is resumed."""
    _run_command("pause", email_id, as_json=as_json)


def resume(email_id: Id, *, as_json: AsJson = False) -> None:
    """Resume a paused series from its next time; missed emails are not sent."""
    _run_command("resume", email_id, as_json=as_json)


def templates(*, as_json: AsJson = False) -> None:
    """List the templates with their required and optional variables."""
    configure_logging(is_worker=False)
    result = run(_templates())
    from outspool.cli import printing

    if as_json:
        printing.print_json(result)
    else:
        printing.print_templates(result)


def _run_command(verb: str, email_id: str, *, as_json: bool) -> None:
    configure_logging(is_worker=False)
    email = run(_apply(verb, email_id))
    from outspool.cli import printing

    printing.print_email(email, as_json=as_json)


async def _templates() -> TemplatesResult:
    from outspool.api.results.templates import templates_result

    async with open_outspool() as outspool:
        return templates_result(await outspool.outbox.list_templates())


async def _list(filters: dict[str, Any]) -> ListResult:
    from outspool.api.results.listing import list_result

    async with open_outspool() as outspool:
        outbox = outspool.operators_outbox()
        if filters["series"] is not None:
            filters = {**filters, "series": await outbox.expand_id(filters["series"])}
        page = await outbox.find(**filters)
        return list_result(
            page.emails,
            next_cursor=page.next_cursor,
            counts=page.counts,
            now=outbox.now(),
            outlook=await outbox.outlook(*page.emails),
        )


async def _show(email_id: str) -> StatusResult:
    from outspool.api.results.email import status_result

    async with open_outspool() as outspool:
        outbox = outspool.operators_outbox()
        email = await outbox.get(await outbox.expand_id(email_id))
        return status_result(email, now=outbox.now(), outlook=await outbox.outlook(email), for_operator=True)


async def _apply(verb: str, email_id: str) -> EmailResult:
    """Perform the command `verb`; return the email as it is then."""
    from outspool.api.results.email import email_result

    async with open_outspool() as outspool:
        outbox = outspool.operators_outbox()
        email_id = await outbox.expand_id(email_id)
        match verb:
            case "cancel":
                email = await outbox.cancel(email_id)
            case "retry":
                email = await outbox.retry(email_id)
            case "override":
                email = await outbox.retry(email_id, override_policy=True)
            case _:
                email = await outbox.update(email_id, {"paused": verb == "pause"})
        return email_result(email, now=outbox.now(), outlook=await outbox.outlook(email), for_operator=True)
