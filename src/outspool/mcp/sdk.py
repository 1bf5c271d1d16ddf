"""Every use of the MCP SDK's internals, so that a new SDK version is checked in one place.

`pyproject.toml` pins the SDK to the minor version that this module's tests ran with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools.base import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.server.session import ServerSession
from mcp.shared.message import SessionMessage
from mcp_types import RequestParams

from outspool.errors import printable

__all__ = [
    "CallKey",
    "Connection",
    "Tool",
    "add_request_handler",
    "client_of",
    "client_of_call",
    "connection_of",
    "key_of_cancelled_call",
    "make_metadata",
    "origin_of_call",
    "run_over_streams",
]

Params = TypeVar("Params", bound=RequestParams)

CallKey = tuple[int, str]
"""Tells calls apart: the connection, and the request's id as text, since clients may send 7 or "7"."""

_LONGEST_NAME = 100


def make_metadata(output_schema: dict[str, Any]) -> FuncMetadata:
    """Return metadata for a tool that validates its own arguments and builds its own result."""
    return FuncMetadata(arg_model=ArgModelBase, output_schema=output_schema)


def add_request_handler(
    server: MCPServer[Any],
    method: str,
    params: type[Params],
    handler: Callable[[ServerRequestContext[Any, Any], Params], Awaitable[Any]],
) -> None:
    """Handle a method for which `MCPServer` has no decorator."""
    server._lowlevel_server.add_request_handler(method, params, handler)  # noqa: SLF001


async def run_over_streams(
    server: MCPServer[Any],
    messages: MemoryObjectReceiveStream[SessionMessage | Exception],
    answers: MemoryObjectSendStream[SessionMessage],
) -> None:
    """Serve one client over a transport of our own; `MCPServer` itself only runs over the SDK's."""
    low_level = server._lowlevel_server  # noqa: SLF001
    await low_level.run(messages, answers, low_level.create_initialization_options())


class Connection:
    """A client's connection, which outlives its requests; streamable HTTP calls it a session."""

    def __init__(self, connection: Any) -> None:
        """Wrap the SDK's object."""
        self._connection = connection

    @property
    def state(self) -> dict[str, Any]:
        """Data kept with the connection, and dropped with it."""
        state: dict[str, Any] = self._connection.state
        return state

    @property
    def exit_stack(self) -> AsyncExitStack:
        """Unwound when the connection ends."""
        stack: AsyncExitStack = self._connection.exit_stack
        return stack

    async def send_resource_updated(self, uri: str) -> None:
        """Send ``notifications/resources/updated``."""
        await self._connection.send_resource_updated(uri)


def connection_of(session: ServerSession) -> Connection:
    """Return the connection of a session object, which itself ends with its request."""
    return Connection(session._connection)  # noqa: SLF001


def origin_of_call(context: Context[Any, Any]) -> tuple[CallKey | None, Mapping[str, Any]]:
    """Return the key of a tool's call, and the ASGI scope of its request, empty for other transports.

    Both are empty if it was called by `MCPServer.call_tool`.
    """
    try:
        request = context.request_context
    except ValueError:  # not called by a client
        return None, {}
    return _key(request, request.request_id), getattr(request.request, "scope", {})


def key_of_cancelled_call(ctx: ServerRequestContext[Any, Any]) -> CallKey | None:
    """Return the key of the call that a ``notifications/cancelled`` names; None for an invalid one."""
    request_id = (ctx.params or {}).get("requestId")
    return _key(ctx, request_id) if isinstance(request_id, (int, str)) else None


def _key(ctx: ServerRequestContext[Any, Any], request_id: object) -> CallKey:
    return id(ctx.session._connection), str(request_id)  # noqa: SLF001


def client_of_call(context: Context[Any, Any]) -> tuple[str, str]:
    """Return `client_of` for a tool's context; empty if it was called by `MCPServer.call_tool`."""
    try:
        session = context.session
    except ValueError:  # not called by a client
        return "", ""
    return client_of(session)


def client_of(session: ServerSession) -> tuple[str, str]:
    """Return the client's name and version as it reported them, printable and short; empty if it did not."""
    params = session.client_params
    if params is None or params.client_info is None:
        return "", ""
    info = params.client_info
    return printable(info.name, _LONGEST_NAME), printable(info.version, _LONGEST_NAME)
