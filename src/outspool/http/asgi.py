"""One ASGI app: ``/mcp`` (streamable HTTP), ``/sse`` with ``/messages/`` (HTTP+SSE, for old clients) and ``/healthz``.

The runtime is entered once, in this app's lifespan. It must not be `MCPServer`'s lifespan, which the SDK enters once
per SSE connection: with three clients a dispatcher there would run three times, and without clients never.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outspool.domain.json_limits import MAX_REQUEST_BYTES
from outspool.http.answer_watch import AnswerWatch
from outspool.http.limits import HttpLimits
from outspool.http.message_guard import MessageGuard
from outspool.http.names import AllowedNames
from outspool.http.request_guard import HEALTH, RequestGuard

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""Default of `allowed_hosts`, for any port."""

LOOPBACK_ORIGINS = ("http://127.0.0.1", "http://localhost", "http://[::1]")
"""Default of `allowed_origins`, for any port."""

MCP = "/mcp"
SSE_MESSAGES = "/messages/"


def build_app(
    server: MCPServer[Any],
    *,
    lifespan_context: Callable[[], AbstractAsyncContextManager[None]],
    allowed_hosts: Sequence[str] = LOOPBACK_HOSTS,
    allowed_origins: Sequence[str] = LOOPBACK_ORIGINS,
    limits: HttpLimits | None = None,
) -> Starlette:
    """Build the app around `server`; `lifespan_context` is entered once, before the first request.

    A ``Host`` that is not in `allowed_hosts` gets 421, an ``Origin`` not in `allowed_origins` 403: that keeps web pages
    in the user's browser away from a server on loopback (DNS rebinding). An entry without port allows every port.
    """
    limits = limits or HttpLimits()
    # The SDK compares prefixes (to it, localhost:80.evil.example is localhost), so RequestGuard checks instead.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    streamable = server.streamable_http_app(
        transport_security=security,
        max_request_body_size=MAX_REQUEST_BYTES,
        session_idle_timeout=limits.session_idle_seconds,
        max_sessions=limits.sessions,
    )
    sse = server.sse_app(transport_security=security, max_request_body_size=MAX_REQUEST_BYTES)
    hosts, origins = AllowedNames(allowed_hosts), AllowedNames(allowed_origins)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with lifespan_context(), server.session_manager.run():
            yield

    return Starlette(
        routes=[*streamable.routes, *_silence_second_response(sse.routes), Route(HEALTH, _healthz, methods=["GET"])],
        middleware=[
            Middleware(RequestGuard, hosts=hosts, origins=origins, limits=limits),
            Middleware(MessageGuard, is_message=_is_message, is_sse=_is_sse),
            Middleware(AnswerWatch, is_answered=_is_answered),
        ],
        lifespan=lifespan,
    )


def _is_message(path: str) -> bool:
    return path == MCP or _is_sse(path)


def _is_answered(path: str) -> bool:
    return path == MCP


def _is_sse(path: str) -> bool:
    return path.startswith(SSE_MESSAGES)


class _FirstResponseOnly:
    """Drops a second response: the SDK's SSE endpoint returns one after its stream, with a traceback at shutdown."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request, and the first response."""
        responses = 0

        async def send_first(message: Message) -> None:
            nonlocal responses
            responses += message["type"] == "http.response.start"
            if responses <= 1:
                await send(message)

        await self._app(scope, receive, send_first)


def _silence_second_response(routes: Sequence[BaseRoute]) -> list[BaseRoute]:
    return [
        Route(route.path, _FirstResponseOnly(route.app), methods=["GET"]) if isinstance(route, Route) else route
        for route in routes
    ]


async def _healthz(_request: Request) -> Response:
    """Answer while the process lives. It asks nothing of the database: restarting the process would not mend that."""
    return JSONResponse({"status": "ok"})
