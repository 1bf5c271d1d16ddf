"""Checks the size of each MCP message before the SDK parses it, and answers those that are too large."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outspool.api.rpc_envelope import build_error_response, build_rejected_call, is_tool_call
from outspool.domain.json_limits import MAX_REQUEST_BYTES, check_json, too_long
from outspool.errors import OutspoolError

log = logging.getLogger(__name__)

_LARGE = 256 * 1024
"""Larger messages are checked in a thread, so that other requests are served meanwhile."""


class MessageGuard:
    """Middleware before the routes that take messages.

    For an SSE session the answer must come through its stream, so the SDK gets a substitute: a small call that every
    tool rejects with the same error.
    """

    def __init__(self, app: ASGIApp, *, is_message: Callable[[str], bool], is_sse: Callable[[str], bool]) -> None:
        """`is_message` tells whether messages are posted to a path, `is_sse` whether it is an SSE session's."""
        self._app = app
        self._is_message = is_message
        self._is_sse = is_sse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request, or answer it."""
        if scope["type"] != "http" or scope["method"] != "POST" or not self._is_message(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            body, refusal = await _read(Request(scope, receive))
        except ClientDisconnect:
            return
        if refusal is not None:
            log.warning("A message was refused: %s", refusal)
            if not self._is_sse(scope["path"]):
                await _refuse(body, refusal)(scope, receive, send)
                return
            body = build_rejected_call(body)
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        del body  # so that only the SDK keeps it in memory

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(_with_length(scope, len(messages[0]["body"])), replay, send)


async def _read(request: Request) -> tuple[bytes, OutspoolError | None]:
    """Return the body, or the beginning of a too long one, and the error if any."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST_BYTES:
            return bytes(body), too_long()
    body_length = bytes(body)
    del body
    try:
        await asyncio.to_thread(check_json, body_length) if len(body_length) > _LARGE else check_json(body_length)
    except OutspoolError as refusal:
        return body_length, refusal
    return body_length, None


def _refuse(body: bytes, refusal: OutspoolError) -> Response:
    """Return an error response; a tool call gets status 200, because clients show models no others."""
    answer = build_error_response(body, refusal)
    status = HTTPStatus.OK if is_tool_call(body) else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return Response(answer or b"", status_code=status, media_type="application/json")


def _with_length(scope: Scope, length: int) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}
