"""The faces of one process, each built around its `Outspool`: MCP over stdio, MCP over HTTP, and a worker alone.

Over stdio the handshake is answered first and the outbox opened behind it: SQLAlchemy and its kin take as long to
import as half the SDK, and ``initialize`` needs none of them. Nothing here imports them at module level.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from outspool.domain.outlook import Senders

if TYPE_CHECKING:
    from outspool.app.runtime import Outspool
    from outspool.app.settings import Settings
    from outspool.services.acceptance.outbox import Outbox

logger = logging.getLogger(__name__)

_HEAD_START = 1.0
"""Seconds in which the handshake has the interpreter for itself, unless a tool is called sooner."""


class PendingOutspool:
    """Stands in for an `Outspool` that is still being opened: calls of its outboxes wait until it is there."""

    def __init__(self) -> None:
        """`opened` gets the outspool; `is_needed` is set when a call waits for it."""
        self.is_needed = asyncio.Event()
        self.opened: asyncio.Future[Outspool] = asyncio.get_running_loop().create_future()

    def outbox_for(self, name: str, version: str) -> Outbox:
        """Return what `Outspool.outbox_for` does, at once."""
        return cast("Outbox", _PendingOutbox(self, name, version))  # it has all that tools use


class _PendingOutbox:
    def __init__(self, pending: PendingOutspool, name: str, version: str) -> None:
        self._pending = pending
        self._client = name, version

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return the method of this name; it waits first."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._pending.is_needed.set()
            outspool = await asyncio.shield(self._pending.opened)
            return await getattr(outspool.outbox_for(*self._client), name)(*args, **kwargs)

        return call

    def now(self) -> datetime:
        """Return the server's time; only a call that has waited may ask."""
        return self._pending.opened.result().outbox.now()


class StdioFace:
    """MCP over stdin and stdout. Its reader sets environment variables, so errors name them."""

    def __init__(self, settings: Settings, stop: asyncio.Event, *, worker: bool, on_ready: Callable[[], None]) -> None:
        """Build it, within a running event loop. `on_ready` is called once everything is imported and open."""
        from outspool.api.errors import describe
        from outspool.mcp.answer_watch import AnswerWatch
        from outspool.mcp.server import build_server

        self._settings = settings
        self._stop = stop
        self._worker = worker
        self._on_ready = on_ready
        self._pending = PendingOutspool()
        self._answers = AnswerWatch()
        self._server = build_server(
            self._pending.outbox_for, describe=describe, names_variables=True, answers=self._answers
        )
        self._reading: asyncio.Task[None] | None = None

    @property
    def is_reading(self) -> bool:
        """True while stdin is being read: the SDK does so in a thread that nothing can interrupt."""
        return self._reading is not None and not self._reading.done()

    async def serve(self) -> None:
        """Serve until stdin closes or `stop` is set, then end the runtime gracefully; stdin may still be read then.

        Raises `MisconfiguredError` when the settings contradict themselves.
        """
        from outspool.mcp.stdio_transport import serve_stdio_streams

        self._reading = reading = asyncio.create_task(
            serve_stdio_streams(self._server, on_unwritten=self._answers.lose_written), name="stdio"
        )

        def end(_task: asyncio.Task[None]) -> None:
            self._stop.set()
            self._pending.is_needed.set()

        reading.add_done_callback(end)
        await self._keep_open()
        if reading.done():
            await reading

    async def _keep_open(self) -> None:
        """Open the outbox, and keep the runtime until `stop`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pending.is_needed.wait(), _HEAD_START)
        if self._stop.is_set():
            return
        outspool_class = await asyncio.to_thread(_import_outspool)
        outspool = outspool_class(self._settings)
        _warn_of_missing_library(self._settings)
        async with outspool.run(worker=self._worker, senders=Senders.WITH_CLIENT):
            self._pending.opened.set_result(outspool)
            self._on_ready()
            logger.info("Ready; emails are sent %s.", outspool.account_label if self._worker else "by other processes")
            await self._stop.wait()


async def serve_http(settings: Settings, host: str, port: int, *, worker: bool, on_ready: Callable[[], None]) -> None:
    """Serve MCP over HTTP until SIGINT or SIGTERM. `on_ready` is called once everything is imported.

    Its callers set no environment variables, so errors name settings in plain words. Raises `MisconfiguredError` when
    the settings contradict themselves, and as `outspool.http.serve.serve` does.
    """
    from outspool.app.runtime import Outspool
    from outspool.http.asgi import LOOPBACK_HOSTS, LOOPBACK_ORIGINS, build_app
    from outspool.http.serve import limits_of_process, serve
    from outspool.mcp.server import build_server

    outspool = Outspool(settings)
    _warn_of_missing_library(settings)
    limits = limits_of_process()
    app = build_app(
        build_server(outspool.outbox_for),
        lifespan_context=lambda: outspool.run(worker=worker),
        allowed_hosts=settings.allowed_hosts or LOOPBACK_HOSTS,
        allowed_origins=settings.allowed_origins or LOOPBACK_ORIGINS,
        limits=limits,
    )
    on_ready()
    await serve(app, host, port, limits=limits)


async def run_worker(settings: Settings, stop: asyncio.Event, *, on_ready: Callable[[], None]) -> None:
    """Send what is due until `stop` is set. `on_ready` is called once everything is imported and open.

    Raises `NotConfigured` when there is nothing to send through, `MisconfiguredError` when the settings contradict
    themselves.
    """
    from outspool.app.runtime import Outspool

    outspool = Outspool(settings)
    outspool.require_account()
    _warn_of_missing_library(settings)
    async with outspool.run(worker=True):
        on_ready()
        logger.info("Emails are sent %s.", outspool.account_label)
        await stop.wait()
        logger.info("Stopping: what is on the wire ends first.")


def _import_outspool() -> type[Outspool]:
    from outspool.app.runtime import Outspool

    return Outspool


def _warn_of_missing_library(settings: Settings) -> None:
    from outspool.app.storage import warn_of_missing_library

    warn_of_missing_library(settings)
