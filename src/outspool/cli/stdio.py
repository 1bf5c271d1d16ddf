"""Serves MCP over stdin and stdout, and ends the process although a client may keep stdin open."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from outspool.api.errors import describe
from outspool.app.faces import StdioFace
from outspool.cli.logs import printable
from outspool.cli.runs import freeze_loaded_objects, stop_on_signals
from outspool.errors import OutspoolError

if TYPE_CHECKING:
    from outspool.app.settings import Settings


async def serve_stdio(settings: Settings, *, worker: bool) -> None:
    """Serve until stdin closes, or SIGTERM or SIGINT arrives; then stop gracefully.

    Raises `MisconfiguredError` if the settings contradict each other.
    """
    face = StdioFace(settings, stop_on_signals(), worker=worker, on_ready=freeze_loaded_objects)
    try:
        await face.serve()
    except OutspoolError as error:
        if face.is_reading:
            _exit_process(describe(error))
        raise
    if face.is_reading:
        _exit_process()


def _exit_process(failure: str = "") -> NoReturn:
    """End the process although stdin is still open, and say why if it is for a `failure`.

    The SDK reads stdin in a thread that cannot be interrupted, and both the event loop and the interpreter would wait
    for it. Everything that matters is committed and closed by now.
    """
    if failure:
        sys.stderr.write(f"error: {printable(failure)}\n")
    logging.shutdown()
    sys.stderr.flush()
    os._exit(1 if failure else 0)
