"""MCP over stdin and stdout; every message is answered, whatever its size.

The SDK's own transport reads a line of any length, parses everything in it, and does not answer invalid messages. Here
a line is measured before it is parsed, and a too large one is answered with an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from outspool.api.rpc_envelope import EDGE_BYTES, build_error_response, invalid_json_error
from outspool.domain.json_limits import MAX_REQUEST_BYTES, check_json, too_long
from outspool.errors import OutspoolError
from outspool.mcp.sdk import run_over_streams

log = logging.getLogger(__name__)

_BUFFER = 1024 * 1024
_LARGE = 256 * 1024
"""Larger lines are measured in a thread, so that other messages are served meanwhile."""

_In = MemoryObjectSendStream[SessionMessage | Exception]
_Out = MemoryObjectReceiveStream[SessionMessage]


async def serve_stdio_streams(server: MCPServer[Any], *, on_unwritten: Callable[[object], None]) -> None:
    """Serve one client over stdin and stdout until stdin closes.

    `on_unwritten` is called with the id of a request whose answer cannot be written.
    """
    incoming, messages = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    answers, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    async with _standard_files() as (stdin, stdout):
        output = _Output(stdout)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, stdin, incoming, output)
            tasks.start_soon(_write, outgoing, output, on_unwritten)
            await run_over_streams(server, messages, answers)


class _Output:
    """Writes whole lines, one at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._turn = asyncio.Lock()

    async def write(self, line: bytes) -> None:
        async with self._turn:
            await asyncio.to_thread(self._write, line)

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()


async def _read(stdin: BinaryIO, incoming: _In, output: _Output) -> None:
    """Forward messages. A long one is measured in a thread while the next ones are read; one long one at a time."""
    async with incoming, anyio.create_task_group() as tasks:
        lock = asyncio.Lock()
        while line := await asyncio.to_thread(_read_line, stdin):
            if len(line) <= _LARGE:
                await _forward(line, incoming, output)
                continue
            await lock.acquire()
            tasks.start_soon(_forward_long, [line], incoming, output, lock)
            del line  # free it before the next read, which may be long


async def _forward_long(lines: list[bytes], incoming: _In, output: _Output, lock: asyncio.Lock) -> None:
    try:
        await _forward(lines.pop(), incoming, output)
    finally:
        lock.release()


async def _forward(line: bytes, incoming: _In, output: _Output) -> None:
    """Parse a message and pass it on, or answer it with an error."""
    if not line.strip():
        return
    try:
        message = await _parse(line)
    except OutspoolError as refusal:
        log.warning("A message of %d bytes was refused: %s", len(line), refusal)
        if (answer := build_error_response(line, refusal)) is not None:
            await output.write(answer)
        return
    del line
    with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # the server has ended
        await incoming.send(message)


async def _write(outgoing: _Out, output: _Output, on_unwritten: Callable[[object], None]) -> None:
    async with outgoing:
        async for message in outgoing:
            try:
                await output.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode())
            except OSError as error:  # the client has ended, and its stdin will too
                log.info("An answer could not be written: %s", error.strerror)
                on_unwritten(getattr(message.message, "id", None))


async def _parse(line: bytes) -> SessionMessage:
    """Parse a message. Raises `TooLarge` or `InvalidArgument`."""
    if len(line) > MAX_REQUEST_BYTES:
        raise too_long()
    await asyncio.to_thread(check_json, line) if len(line) > _LARGE else check_json(line)
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValidationError:
        raise invalid_json_error() from None


def _read_line(stdin: BinaryIO) -> bytes:
    """Return the next line, empty at the end; a too long line is cut to a length that is still too long."""
    line = stdin.readline(MAX_REQUEST_BYTES + 1)
    if len(line) <= MAX_REQUEST_BYTES or line.endswith(b"\n"):
        return line
    end = b""
    while (rest := stdin.readline(_BUFFER)) and not rest.endswith(b"\n"):
        end = rest
    return line + (end + rest)[-EDGE_BYTES:]


@asynccontextmanager
async def _standard_files() -> AsyncIterator[tuple[BinaryIO, BinaryIO]]:
    """Yield stdin and stdout for the protocol only, so that other input and output cannot mix with it."""
    files = os.dup(sys.stdin.fileno()), os.dup(sys.stdout.fileno())
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, sys.stdin.fileno())
    os.close(devnull)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        # Not closed, because a thread may still read from it, and its number could be reused for another file.
        yield (
            os.fdopen(files[0], "rb", _BUFFER, closefd=False),
            os.fdopen(files[1], "wb", closefd=False),
        )
    finally:
        os.dup2(files[0], sys.stdin.fileno())
        os.dup2(files[1], sys.stdout.fileno())
