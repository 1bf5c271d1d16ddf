"""Options that several commands share, so that one word means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_status(incomplete: str) -> list[str]:
    """Return the statuses that begin with `incomplete`, for the shell."""
    from outspool.domain.status import EmailStatus

    return [str(status) for status in EmailStatus if status.startswith(incomplete)]


def complete_zone(incomplete: str) -> list[str]:
    """Return the time zones that begin with `incomplete`, for the shell."""
    from zoneinfo import available_timezones

    return sorted(zone for zone in available_timezones() if zone.startswith(incomplete))


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON: what the MCP tool returns, if there is one.")]

Id = Annotated[
    str, typer.Argument(metavar="ID", help="The email's id, or its last 4 or more characters if no other ends so.")
]

Bcc = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Hidden from the other recipients.")]
Sender = Annotated[str | None, typer.Option("--from", metavar="ADDRESS", help="Instead of EMAIL_FROM.")]
ReplyTo = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Where answers go.")]
Body = Annotated[str | None, typer.Option(metavar="TEXT", help="The text itself.")]
BodyFile = Annotated[str | None, typer.Option(metavar="FILE", help="The text, from a file; - is stdin.")]
Html = Annotated[str | None, typer.Option(metavar="HTML", help="The HTML itself.")]
HtmlFile = Annotated[str | None, typer.Option(metavar="FILE", help="The HTML, from a file; - is stdin.")]
Attach = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="A file that you may read, not a hidden one. Repeat it.")
]
ContentIds = Annotated[
    list[str] | None,
    typer.Option(
        "--content-id",
        metavar="NAME",
        help="Shows the picture of --attach where the HTML has `cid:NAME`. The first NAME belongs to the first file, "
        'and so on; "" skips one.',
    ),
]
Headers = Annotated[list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="Repeat it: X-Project:42")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="LABEL", help="A label for `outspool list --tag`.")]
Priority = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="low, normal or high: which due email leaves first.")
]
InReplyTo = Annotated[str | None, typer.Option(metavar="ID", help="The Message-ID answered: `<id@example.com>`.")]
References = Annotated[
    list[str] | None, typer.Option("--reference", metavar="ID", help="A Message-ID of the thread, oldest first.")
]
At = Annotated[
    str | None, typer.Option(metavar="TIME", help='Send later: "2026-12-01 09:00" on this machine\'s clocks.')
]
Timezone = Annotated[
    str | None,
    typer.Option(
        metavar="ZONE", help="Another zone for --at and --recurrence: Europe/Berlin.", autocompletion=complete_zone
    ),
]
Delay = Annotated[str | None, typer.Option(metavar="DURATION", help="Send later: PT90M, PT2H, P1D.")]
Cron = Annotated[str | None, typer.Option("--recurrence", metavar="CRON", help='Send a series: "0 9 * * mon".')]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="The last day, or time, of the series.")]
Count = Annotated[int | None, typer.Option(metavar="NUMBER", help="How many emails the series makes.")]

Subject = Annotated[str | None, typer.Option(metavar="TEXT", help="What the email is about.")]
Cc = Annotated[list[str] | None, typer.Option(metavar="ADDRESS", help="Gets a copy.")]
