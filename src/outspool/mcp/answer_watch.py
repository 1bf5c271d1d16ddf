"""Notices calls whose client gave up: by a cancellation, even one that crosses the answer, or by leaving."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

from outspool.api.answers import PENDING_ANSWER, PendingAnswer
from outspool.mcp.sdk import CallKey, key_of_cancelled_call, origin_of_call

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

_CROSSING_SECONDS = 2.0
"""For so long after the answer a cancellation counts as sent before the client saw the answer."""


class AnswerWatch:
    """The calls of all clients that are being answered, or were a moment ago."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._answered: OrderedDict[CallKey, tuple[float, PendingAnswer]] = OrderedDict()

    @contextmanager
    def follow(self, context: Context[Any, Any]) -> Iterator[PendingAnswer]:
        """Yield the answer to a tool's call, which is lost if the call is canceled within the block or just after."""
        key, scope = origin_of_call(context)
        answer: PendingAnswer = scope.get(PENDING_ANSWER) or PendingAnswer()
        try:
            yield answer
        except asyncio.CancelledError:
            answer.lose()
            raise
        if key is not None:
            self._keep(key, answer)

    async def notice_cancellation(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Middleware: lose the answer that a ``notifications/cancelled`` crossed."""
        if ctx.method == "notifications/cancelled" and (key := key_of_cancelled_call(ctx)) is not None:
            self._lose(key)
        return await call_next(ctx)

    def lose_written(self, request_id: object) -> None:
        """Lose an answer that could not be written to the only client of the process."""
        for key in [key for key in self._answered if key[1] == str(request_id)]:
            self._lose(key)

    def _lose(self, key: CallKey) -> None:
        """Lose the answer to a call that was answered a moment ago; does nothing otherwise."""
        answered_at, answer = self._answered.pop(key, (0.0, None))
        if answer is not None and time.monotonic() - answered_at <= _CROSSING_SECONDS:
            answer.lose()

    def _keep(self, key: CallKey, answer: PendingAnswer) -> None:
        now = time.monotonic()
        self._answered[key] = now, answer
        self._answered.move_to_end(key)
        while now - next(iter(self._answered.values()))[0] > _CROSSING_SECONDS:
            self._answered.popitem(last=False)
