"""One ASGI app: ``/mcp`` (streamable HTTP), ``/sse`` with ``/messages/`` (HTTP+SSE, for old clients) and ``/healthz``.

The runtime is entered once, in this app's lifespan. It must not be `MCPServer`'s lifespan, which the SDK enters once
per SSE connection: a dispatcher there would run as many times as clients are connected, and never with none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outspool.domain.json_limits import MAX_REQUEST_BYTES
from outspool.http.message_guard import MessageGuard

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The default of `allowed_hosts`: any port."""

LOOPBACK_ORIGINS = ("http://127.0.0.1", "http://localhost", "http://[::1]")
"""The default of `allowed_origins`: any port."""

HEALTH = "/healthz"
MCP = "/mcp"
SSE_MESSAGES = "/messages/"


def build_app(
    server: MCPServer[Any],
    *,
    lifespan_context: Callable[[], AbstractAsyncContextManager[None]],
    allowed_hosts: Sequence[str] = LOOPBACK_HOSTS,
    allowed_origins: Sequence[str] = LOOPBACK_ORIGINS,
) -> Starlette:
    """Build the app around `server`; `lifespan_context` is entered once, before the first request.

    A request whose ``Host`` is not of `allowed_hosts` gets 421, one whose ``Origin`` is not of `allowed_origins` 403:
    that keeps web pages in the user's browser away from a server on loopback (DNS rebinding). An entry without port
    allows every port.
    """
    security = _security(allowed_hosts, allowed_origins)
    streamable = server.streamable_http_app(transport_security=security, max_request_body_size=MAX_REQUEST_BYTES)
    sse = server.sse_app(transport_security=security, max_request_body_size=MAX_REQUEST_BYTES)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with lifespan_context(), server.session_manager.run():
            yield

    return Starlette(
        routes=[*streamable.routes, *_quiet(sse.routes), Route(HEALTH, _alive, methods=["GET"])],
        middleware=[
            Middleware(_HostGuard, security=security),
            Middleware(MessageGuard, is_message=_is_message, is_sse=_is_sse),
        ],
        lifespan=lifespan,
    )


def _is_message(path: str) -> bool:
    return path == MCP or _is_sse(path)


def _is_sse(path: str) -> bool:
    return path.startswith(SSE_MESSAGES)


class _HostGuard:
    """Checks Host and Origin before any route, so that no route can forget to, except ``/healthz``.

    Probes ask for ``/healthz`` by whatever address they have, and it tells nothing but that the process lives.
    """

    def __init__(self, app: ASGIApp, security: TransportSecuritySettings) -> None:
        self._app = app
        self._check = TransportSecurityMiddleware(security)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 421 or 403."""
        if scope["type"] == "http" and scope["path"] != HEALTH:
            refused = await self._check.validate_request(Request(scope))
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _OneResponse:
    """Drops a second response: the SDK's SSE endpoint returns one after its stream, a traceback at every shutdown."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and of the answer what belongs to its first response."""
        responses = 0

        async def send_first(message: Message) -> None:
            nonlocal responses
            responses += message["type"] == "http.response.start"
            if responses <= 1:
                await send(message)

        await self._app(scope, receive, send_first)


def _quiet(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    return [
        Route(route.path, _OneResponse(route.app), methods=["GET"]) if isinstance(route, Route) else route
        for route in routes
    ]


async def _alive(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _security(hosts: Sequence[str], origins: Sequence[str]) -> TransportSecuritySettings:
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=_with_any_port(hosts),
        allowed_origins=_with_any_port(origins),
    )


def _with_any_port(names: Sequence[str]) -> list[str]:
    """Let an entry without port stand for itself (the default port is never written) and for every port."""
    return [form for name in names for form in ((name,) if _has_port(name) else (name, f"{name}:*"))]


def _has_port(name: str) -> bool:
    _, colon, port = name.rpartition(":")
    return bool(colon) and (port == "*" or port.isdigit())
