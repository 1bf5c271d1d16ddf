"""The long-running commands: ``serve`` and ``worker``."""

from __future__ import annotations

import logging
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

logger = logging.getLogger(__name__)

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
    from outspool.app.runtime import Outspool
    from outspool.http.asgi import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, build_app
    from outspool.http.serve import limits_of_process
    from outspool.http.serve import serve as serve_http
    from outspool.mcp.server import build_server

    outspool = Outspool(settings)
    limits = limits_of_process()
    app = build_app(
        build_server(outspool.outbox_for),
        lifespan_context=lambda: outspool.run(worker=worker),
        allowed_hosts=settings.allowed_hosts or LOOPBACK_HOSTS,
        allowed_origins=settings.allowed_origins or LOOPBACK_ORIGINS,
        limits=limits,
    )
    freeze_loaded_objects()
    await serve_http(app, host, port, limits=limits)


async def _work(settings: Settings) -> None:
    from outspool.app.runtime import Outspool

    outspool = Outspool(settings)
    outspool.require_account()
    stop = stop_on_signals()
    async with outspool.run(worker=True):
        freeze_loaded_objects()
        logger.info("Emails are sent %s.", outspool.account_label)
        await stop.wait()
        logger.info("Stopping: what is on the wire ends first.")
