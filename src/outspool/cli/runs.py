"""The frame of every command: settings, logging, event loop and graceful stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from outspool.cli.logs import log_to

if TYPE_CHECKING:
    from outspool.app.runtime import Outspool
    from outspool.app.settings import Settings

T = TypeVar("T")

logger = logging.getLogger(__name__)

Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox",
        help="Deliver to a mail server on this machine that keeps every email as a file and sends nothing.",
    ),
]
NoWorker = Annotated[bool, typer.Option("--no-worker", help="Accept emails, and leave sending to other processes.")]


def load_settings(*, sandbox: bool = False, by_client: bool = False) -> Settings:
    """Read the settings; `sandbox` wins over ``OUTSPOOL_SANDBOX``. Raises `MisconfiguredError`.

    `by_client`: an MCP client started the process in a folder of its choice, so that folder's `.env` is ignored.
    """
    from outspool.app.settings import Settings

    folder = None if by_client else Path.cwd()
    return Settings.load({"OUTSPOOL_SANDBOX": True} if sandbox else None, folder=folder)


def warn_of_unknown_names() -> None:
    """Log each variable that looks like a setting but is not: a misspelt limit would silently not apply."""
    from outspool.app.settings import unknown_names

    for name in unknown_names():
        logger.warning("%s is no setting of outspool, so it does nothing; `outspool doctor` says more.", name)


def configure_logging(*, is_worker: bool) -> None:
    """Log to stderr: warnings of all loggers, and outspool's information while `is_worker` on the queue."""
    log_to()
    if is_worker:
        logging.getLogger("outspool").setLevel(logging.INFO)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in an event loop to its end."""
    return asyncio.run(work)


@asynccontextmanager
async def open_outspool(*, sandbox: bool = False) -> AsyncIterator[Outspool]:
    """Yield the configured outspool with an open database, without a worker."""
    from outspool.app.runtime import Outspool

    outspool = Outspool(load_settings(sandbox=sandbox))
    async with outspool.run(worker=False):
        yield outspool


def freeze_loaded_objects() -> None:
    """Exclude all objects that exist now from garbage collection, which would stop everything for 0.1 s.

    For long-running commands, after their imports: those objects live as long as the process anyway.
    """
    gc.freeze()


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; a second one ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Not `loop.add_signal_handler`, which Windows lacks.
    numbers = (signal.SIGTERM, signal.SIGINT)

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop.set)

    for number in numbers:
        signal.signal(number, request_stop)
    return stop
