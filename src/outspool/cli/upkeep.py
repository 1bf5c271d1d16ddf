"""The maintenance commands: ``demo``, ``migrate``, ``backup`` and ``restore``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from outspool.cli.options import AsJson
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


def migrate(*, as_json: AsJson = False) -> None:
    """Migrate the database's schema, as every start does."""
    configure_logging(is_worker=False)
    is_migrated = run(_migrate())
    if as_json:
        _print_object({"is_migrated": is_migrated})
        return
    typer.echo("The database was brought up to date." if is_migrated else "The database is up to date.")


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the copy; it must not exist.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Copy the SQLite outbox to FILE, while it is in use.

    Attachments are files in the data directory's `attachments`: copy that folder too.
    """
    configure_logging(is_worker=False)
    run(_back_up(file))
    if as_json:
        _print_object({"file": str(file)})
        return
    typer.echo(f"The outbox was copied to {file}. Attachments are files beside the outbox: copy their folder too.")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `outspool backup` or `sqlite3 .backup` wrote.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Replace the SQLite outbox by the backup FILE; stop every outspool first.

    Emails that have come due since the backup may have been sent, so they become `unknown`, for you to decide.
    """
    configure_logging(is_worker=False)
    restored = run(_restore(file))
    from outspool.cli.times import format_local
    from outspool.domain.times import format_utc

    if as_json:
        old = None if restored.old is None else str(restored.old)
        _print_object({"taken_at": format_utc(restored.taken_at), "doubtful": restored.doubtful, "old": old})
        return
    typer.echo(f"The backup of {format_local(restored.taken_at)} was restored.")
    if restored.doubtful:
        typer.echo(
            f"{restored.doubtful} emails had come due since, so they may have been sent: they are unknown now. "
            "See `outspool list --status unknown`. `outspool retry ID` sends one again, and `outspool resolve ID` "
            "settles one."
        )
    if restored.old is not None:
        typer.echo(f"The outbox that was there is kept as {restored.old}.")


def _print_object(value: dict[str, object]) -> None:
    from outspool.cli import printing

    printing.print_object(value)


async def _back_up(file: Path) -> None:
    from outspool.app.recovery import back_up

    await back_up(load_settings(), file)


async def _restore(file: Path) -> Restored:
    from outspool.app.recovery import restore as put_back

    return await put_back(load_settings(), file)


async def _migrate() -> bool:
    from outspool.app.runtime import Outspool

    return await Outspool(load_settings()).migrate()
