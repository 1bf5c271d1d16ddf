"""``attach``: stores a file for future emails, so that its bytes need not pass through a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from outspool.cli.runs import configure_logging, open_outspool, run


def register(cli: typer.Typer) -> None:
    """Add the command to `cli`."""
    cli.command()(attach)


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
