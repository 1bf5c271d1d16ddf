"""The maintenance commands: ``demo``, ``migrate``, ``backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outspool.cli.runs import configure_logging, load_settings, run

if TYPE_CHECKING:
    from outspool.app.recovery import Restored


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    for command in (demo, migrate, backup, restore):
        cli.command()(command)


def demo() -> None:
    """Show outspool at work in a minute, without an account: send, schedule and retry."""
    from outspool.cli.demo import run_demo

    configure_logging(is_worker=False)
    run(run_demo())


def migrate() -> None:
    """Migrate the database's schema, as every start does."""
    configure_logging(is_worker=False)
    typer.echo("The database was brought up to date." if run(_migrate()) else "The database is up to date.")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the copy; it must not exist.")],
) -> None:
    """Copy the SQLite outbox to FILE, while it is in use.

    Attachments are files in the data directory's `attachments`: copy that folder too.
    """
    configure_logging(is_worker=False)
    run(_back_up(file))
    typer.echo(f"The outbox was copied to {file}. Attachments are files beside the outbox: copy their folder too.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `outspool backup` or `sqlite3 .backup` wrote.")],
) -> None:
    """Replace the SQLite outbox by the backup FILE; stop every outspool first.

    Emails that have come due since the backup may have been sent, so they become `unknown`, for you to decide.
    """
    configure_logging(is_worker=False)
    restored = run(_restore(file))
    from outspool.domain.summary import format_utc

    typer.echo(f"The backup of {format_utc(restored.taken_at.replace(microsecond=0))} was restored.")
    if restored.doubtful:
        typer.echo(
            f"{restored.doubtful} emails had come due since, so they may have been sent: they are unknown now. "
            "See `outspool list --status unknown`; `outspool retry ID` sends one again."
        )
    if restored.old is not None:
        typer.echo(f"The outbox that was there is kept as {restored.old}.")


async def _back_up(file: Path) -> None:
    from outspool.app.recovery import back_up

    await back_up(load_settings(), file)


async def _restore(file: Path) -> Restored:
    from outspool.app.recovery import restore as put_back

    return await put_back(load_settings(), file)


async def _migrate() -> bool:
    from outspool.app.runtime import Outspool

    return await Outspool(load_settings()).migrate()
