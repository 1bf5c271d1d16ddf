"""Everything that touches the inside of the MCP SDK, so that a new version of it is checked in one place.

`pyproject.toml` pins the SDK to the minor version that the tests of this module ran with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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
    "Connection",
    "Tool",
    "add_request_handler",
    "client_of",
    "client_of_call",
    "connection_of",
    "metadata_of",
    "run_over_streams",
]

Params = TypeVar("Params", bound=RequestParams)

_LONGEST_NAME = 100


def metadata_of(output_schema: dict[str, Any]) -> FuncMetadata:
    """Return the metadata of a tool that validates its own arguments and builds its own result."""
    return FuncMetadata(arg_model=ArgModelBase, output_schema=output_schema)


def add_request_handler(
    server: MCPServer[Any],
    method: str,
    params: type[Params],
    handler: Callable[[ServerRequestContext[Any, Any], Params], Awaitable[Any]],
) -> None:
    """Serve a method that `MCPServer` has no decorator for."""
    server._lowlevel_server.add_request_handler(method, params, handler)  # noqa: SLF001


async def run_over_streams(
    server: MCPServer[Any],
    messages: MemoryObjectReceiveStream[SessionMessage | Exception],
    answers: MemoryObjectSendStream[SessionMessage],
) -> None:
    """Serve one client whose transport is ours: `MCPServer` itself runs over the SDK's transports alone."""
    low_level = server._lowlevel_server  # noqa: SLF001
    await low_level.run(messages, answers, low_level.create_initialization_options())


class Connection:
    """A client's connection, which outlives its requests; streamable HTTP calls it a session."""

    def __init__(self, connection: Any) -> None:
        """Wrap the SDK's own object."""
        self._connection = connection

    @property
    def state(self) -> dict[str, Any]:
        """What we keep with the connection; gone with it."""
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
    """Return the connection of a request's session; the session object itself ends with the request."""
    return Connection(session._connection)  # noqa: SLF001


def client_of_call(context: Context[Any, Any]) -> tuple[str, str]:
    """Return `client_of` for a tool's context; empty when no client calls, but a program by `MCPServer.call_tool`."""
    try:
        session = context.session
    except ValueError:  # there is no request
        return "", ""
    return client_of(session)


def client_of(session: ServerSession) -> tuple[str, str]:
    """Return the client's name and version as it gave them, printable and short; empty when it gave none."""
    params = session.client_params
    if params is None or params.client_info is None:
        return "", ""
    info = params.client_info
    return printable(info.name, _LONGEST_NAME), printable(info.version, _LONGEST_NAME)
