"""MCP over stdin and stdout: answers the handshake first, and opens the outbox meanwhile.

SQLAlchemy and other imports take half as long as the SDK, and ``initialize`` needs none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

from outspool.cli.logs import printable
from outspool.cli.runs import freeze_loaded_objects, stop_on_signals
from outspool.errors import OutspoolError
from outspool.mcp.server import build_server
from outspool.mcp.stdio_transport import serve_stdio_streams

if TYPE_CHECKING:
    from outspool.app.runtime import Outspool
    from outspool.app.settings import Settings
    from outspool.services.acceptance.outbox import Outbox

logger = logging.getLogger(__name__)

_HEAD_START = 1.0
"""Seconds during which only the handshake runs, unless a tool is called sooner."""


class PendingOutspool:
    """Stands in for an `Outspool` that is being opened; calls of its outboxes wait for it."""

    def __init__(self) -> None:
        """`opened` gets the outspool; `is_needed` is set when a call waits for it."""
        self.is_needed = asyncio.Event()
        self.opened: asyncio.Future[Outspool] = asyncio.get_running_loop().create_future()

    def outbox_for(self, name: str, version: str) -> Outbox:
        """Return the stand-in for `Outspool.outbox_for` at once."""
        return cast("Outbox", _PendingOutbox(self, name, version))  # it has every method that tools use


class _PendingOutbox:
    def __init__(self, pending: PendingOutspool, name: str, version: str) -> None:
        self._pending = pending
        self._client = name, version

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return the method of this name, which waits for the outbox first."""

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._pending.is_needed.set()
            outspool = await asyncio.shield(self._pending.opened)
            return await getattr(outspool.outbox_for(*self._client), name)(*args, **kwargs)

        return call

    def now(self) -> datetime:
        """Return the server's time; only valid after a call that has waited."""
        return self._pending.opened.result().outbox.now()


async def serve_stdio(settings: Settings, *, worker: bool) -> None:
    """Serve until stdin closes, or SIGTERM or SIGINT arrives; then stop gracefully.

    Raises `MisconfiguredError` if the settings contradict each other.
    """
    stop = stop_on_signals()
    pending = PendingOutspool()
    server = build_server(pending.outbox_for)
    serving = asyncio.create_task(serve_stdio_streams(server), name="stdio")

    def end(_task: asyncio.Task[None]) -> None:
        stop.set()
        pending.is_needed.set()

    serving.add_done_callback(end)
    failure: BaseException | None = None
    try:
        await _run(settings, pending, stop, worker=worker)
    except OutspoolError as error:
        failure = error
    if not serving.done():
        _exit_process(failure)
    if failure is not None:
        raise failure
    await serving


async def _run(settings: Settings, pending: PendingOutspool, stop: asyncio.Event, *, worker: bool) -> None:
    """Open the outbox, and run it until `stop`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(pending.is_needed.wait(), _HEAD_START)
    if stop.is_set():
        return
    outspool_class = await asyncio.to_thread(_import_app)
    outspool = outspool_class(settings)
    async with outspool.run(worker=worker):
        pending.opened.set_result(outspool)
        freeze_loaded_objects()
        logger.info("Ready; emails are sent %s.", outspool.account_label if worker else "by other processes")
        await stop.wait()


def _import_app() -> Any:
    from outspool.app.runtime import Outspool

    return Outspool


def _exit_process(failure: BaseException | None) -> NoReturn:
    """End the process although stdin is still open.

    The SDK reads stdin in a thread that cannot be interrupted, and both the event loop and the interpreter would wait
    for it. Everything that matters is committed and closed by now.
    """
    if failure is not None:
        sys.stderr.write(f"error: {printable(str(failure))}\n")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(0 if failure is None else 1)
