"""Notices clients that leave before they got the answer to their request."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outspool.api.answers import PENDING_ANSWER, PendingAnswer


class AnswerWatch:
    """Middleware: gives each request a `PendingAnswer`, and loses it if the response does not end normally.

    The SDK lets a tool run on when its client disconnects, and tells nobody.
    """

    def __init__(self, app: ASGIApp, *, is_answered: Callable[[str], bool]) -> None:
        """`is_answered` tells whether requests to a path get the answer as their response."""
        self._app = app
        self._is_answered = is_answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on the request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not self._is_answered(scope["path"]):
            await self._app(scope, receive, send)
            return
        answer = PendingAnswer()
        is_complete = has_left = False

        async def watch_send(message: Message) -> None:
            nonlocal is_complete
            await send(message)
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        async def watch_receive() -> Message:
            nonlocal has_left
            message = await receive()
            if message["type"] == "http.disconnect" and not is_complete:
                has_left = True
                answer.lose()
            return message

        try:
            await self._app({**scope, PENDING_ANSWER: answer}, watch_receive, watch_send)
        finally:
            if has_left or not is_complete:
                answer.lose()
