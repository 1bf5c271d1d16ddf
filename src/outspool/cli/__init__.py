"""The command line: parses arguments and prints results.

It imports nothing heavy at module level, because an MCP client waits for ``outspool`` to answer.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from outspool.cli import doctor, editing, mail, sending, serving, upkeep
from outspool.cli.runs import NoWorker, Sandbox, configure_logging, load_settings, run, warn_of_unknown_names
from outspool.errors import OutspoolError

__all__ = ["cli", "main"]

cli = typer.Typer(
    name="outspool",
    help="A durable, honest, safe outbox for agents: an MCP server that sends, schedules and tracks email.",
    epilog="Without a command it serves MCP over stdin and stdout, for a client that starts it. Settings come from "
    "the environment or a .env file.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
doctor.register(cli)
sending.register(cli)
mail.register(cli)
editing.register(cli)
serving.register(cli)
upkeep.register(cli)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed (stderr says why), 2 wrong usage, 3 not (wholly) sent."""
    os.umask(0o077)  # also for files that libraries create
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stream may be missing, or not a text file
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        cli()
    except OutspoolError as error:
        from outspool.cli.words import describe_error, wrap_for_terminal

        typer.echo(wrap_for_terminal(f"error: {describe_error(error)}"), err=True)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - print one line, never a traceback
        # Type and place only: the exception's text may contain an address or a password.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        typer.echo(f"error: internal_error: outspool failed unexpectedly ({place}). Please report it.", err=True)
        sys.exit(1)


@cli.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    sandbox: Sandbox = False,
    no_worker: NoWorker = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from outspool import __version__

        typer.echo(f"outspool {__version__}")
        return
    if context.invoked_subcommand is not None:
        if sandbox or no_worker:
            option = "--sandbox" if sandbox else "--no-worker"
            # Sending for real what was meant for the sandbox would be the worst mistake.
            raise typer.BadParameter(f"write it after the command: outspool {context.invoked_subcommand} {option}")
        return
    if sys.stdin is None or sys.stdin.isatty():
        typer.echo(context.get_help())
        return
    configure_logging(is_worker=True)
    settings = load_settings(sandbox=sandbox, by_client=True)
    warn_of_unknown_names()
    from outspool.cli.stdio import serve_stdio

    run(serve_stdio(settings, worker=not no_worker))
