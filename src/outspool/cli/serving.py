"""The long-running commands: ``serve`` and ``worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from outspool.cli.runs import (
    NoWorker,
    Sandbox,
    configure_logging,
    freeze_loaded_objects,
    load_settings,
    run,
    stop_on_signals,
    warn_of_unknown_names,
)

if TYPE_CHECKING:
    from outspool.app.settings import Settings

_MOST_PORTS = 65535


def register(cli: typer.Typer) -> None:
    """Add the commands to `cli`."""
    cli.command()(serve)
    cli.command()(worker)


def serve(
    host: Annotated[str, typer.Option(help="A loopback address: there are no access tokens yet.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=_MOST_PORTS, help="0 takes any free port.")] = 8000,
    *,
    sandbox: Sandbox = False,
    no_worker: NoWorker = False,
) -> None:
    """Serve MCP over HTTP: /mcp (streamable HTTP), /sse (older clients) and /healthz."""
    configure_logging(is_worker=True)
    settings = load_settings(sandbox=sandbox)
    warn_of_unknown_names()
    run(_serve(settings, host, port, worker=not no_worker))


def worker(*, sandbox: Sandbox = False) -> None:
    """Send due emails, without serving clients; any number of workers may share one Postgres."""
    configure_logging(is_worker=True)
    settings = load_settings(sandbox=sandbox)
    warn_of_unknown_names()
    run(_work(settings))


async def _serve(settings: Settings, host: str, port: int, *, worker: bool) -> None:
    from outspool.app.faces import serve_http

    await serve_http(settings, host, port, worker=worker, on_ready=freeze_loaded_objects)


async def _work(settings: Settings) -> None:
    from outspool.app.faces import run_worker

    await run_worker(settings, stop_on_signals(), on_ready=freeze_loaded_objects)
