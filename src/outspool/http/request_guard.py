"""Checks every HTTP request before any route, and handles clients that disconnect in mid-request."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outspool.errors import brief
from outspool.http.limits import HttpLimits
from outspool.http.names import AllowedNames

logger = logging.getLogger(__name__)

HEALTH = "/healthz"


class RequestGuard:
    """Checks the form of a request, its Host and its Origin, for all routes.

    ``/healthz`` is exempt from the name checks and from the limit of concurrent requests: probes use any address, and
    must get an answer when all is busy. It reveals only that the process lives.
    """

    def __init__(self, app: ASGIApp, *, hosts: AllowedNames, origins: AllowedNames, limits: HttpLimits) -> None:
        """Guard `app`."""
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._limits = limits
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request, or answer 400, 403, 421, 431 or 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, _raise_on_disconnect(receive), send)
        except _BrokenOffError:
            logger.debug("a client went away before its request was whole")
        finally:
            self._running -= 1

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        target = len(scope["path"]) + len(scope["query_string"])
        if target + sum(len(name) + len(value) for name, value in headers) > self._limits.header_bytes:
            return _refuse("Request headers too large", 431)
        if _is_ambiguous(scope["http_version"], headers):
            return _refuse("A request has either Content-Length or Transfer-Encoding", 400)
        if scope["path"] == HEALTH:
            return None
        return self._check_names(headers) or self._check_load()

    def _check_names(self, headers: list[tuple[bytes, bytes]]) -> PlainTextResponse | None:
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._hosts.allows(hosts[0]):
            logger.warning("refused a request whose Host is %s", brief(", ".join(hosts)))
            return _refuse("Invalid Host header", 421)
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if any(not self._origins.allows(origin) for origin in origins if origin) or len(origins) > 1:
            logger.warning("refused a request whose Origin is %s", brief(", ".join(origins)))
            return _refuse("Invalid Origin header", 403)
        return None

    def _check_load(self) -> PlainTextResponse | None:
        if self._running < self._limits.connections:
            return None
        logger.warning("refused a request: %d are under way", self._running)
        return _refuse("Too many requests at once", 503, {"retry-after": "5"})


class _BrokenOffError(Exception):
    """The client disconnected in mid-request: there is nobody to answer, and nothing to report."""


def _raise_on_disconnect(receive: Receive) -> Receive:
    """Wrap `receive` to raise `_BrokenOffError` if the client disconnects in mid-request.

    The SDK would log each as a failure of its own, with a traceback.
    """
    is_whole = False

    async def receive_whole() -> Message:
        nonlocal is_whole
        message = await receive()
        if message["type"] == "http.request":
            is_whole = not message.get("more_body", False)
        elif not is_whole:
            raise _BrokenOffError
        return message

    return receive_whole


def _is_ambiguous(version: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether parsers could disagree on the request's end (RFC 9112 §6.1, §6.3: request smuggling)."""
    names = [name for name, _ in headers]
    if b"transfer-encoding" not in names:
        return names.count(b"content-length") > 1
    return b"content-length" in names or version == "1.0"


def _refuse(text: str, status: int, headers: Mapping[str, str] | None = None) -> PlainTextResponse:
    """Answer and close, because what follows on the connection may belong to the rejected request."""
    return PlainTextResponse(text, status, {**(headers or {}), "connection": "close"})
