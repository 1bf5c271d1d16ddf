"""The commands that try, check and prepare an outspool: ``demo``, ``doctor`` and ``migrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outspool.cli.logs import printable
from outspool.cli.runs import configure_logging, load_settings, run
from outspool.errors import OutspoolError

if TYPE_CHECKING:
    from outspool.services.doctor.findings import Finding


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    for command in (demo, doctor, migrate):
        cli.command()(command)


def demo() -> None:
    """See the main job in a minute, without an account: send, schedule, retry, and what became of each."""
    from outspool.cli.demo import run_demo

    configure_logging(working=False)
    run(run_demo())


def doctor(
    *, offline: Annotated[bool, typer.Option("--offline", help="Do not try to log in at the SMTP server.")] = False
) -> None:
    """Check settings, disk, database, SMTP account and queue; each trouble comes with its cure.

    Exits with 1 if anything fails.
    """
    configure_logging(working=False)
    if not run(_examine(offline=offline)):
        raise typer.Exit(1)


def migrate() -> None:
    """Bring the database's schema up to date, as every start does."""
    configure_logging(working=False)
    typer.echo("The database was brought up to date." if run(_migrate()) else "The database is up to date.")


async def _examine(*, offline: bool) -> bool:
    """Print each finding as it comes; True when none is a failure."""
    from outspool.services.doctor.findings import Level, fail

    try:
        from outspool.app.examination import doctor_for
        from outspool.app.runtime import Outspool

        outspool = Outspool(load_settings())
        doctor = doctor_for(outspool, offline=offline)
    except OutspoolError as error:
        _print(fail("settings", error.message, error.hint))
        return False
    is_well = True
    async with outspool.running(worker=False):
        async for finding in doctor.examine():
            _print(finding)
            is_well = is_well and finding.level is not Level.FAIL
    return is_well


def _print(finding: Finding) -> None:
    cure = f" \N{RIGHTWARDS ARROW} {finding.cure}" if finding.cure else ""
    typer.echo(printable(f"{finding.level:<5} {finding.name:<12} {finding.finding}{cure}"))


async def _migrate() -> bool:
    from outspool.app.runtime import Outspool

    return await Outspool(load_settings()).migrate()
