"""An HTTP connection with timeouts for its client."""

from __future__ import annotations

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from outspool.http.limits import HttpLimits

_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(H11Protocol):
    """uvicorn's connection, which records since when it waits for its client; `expire` it if overdue.

    uvicorn itself waits without limit for the rest of a request.
    """

    def __init__(self, *arguments: Any, limits: HttpLimits, **options: Any) -> None:
        """Take uvicorn's arguments, and the limits."""
        super().__init__(*arguments, **options)
        self._limits = limits
        self._waits_since = self.loop.time()
        self._received = 0
        self._blocked_since: float | None = None
        self._is_expired = False

    @property
    def is_idle(self) -> bool:
        """True while no complete request is being handled."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.flow.read_paused

    @property
    def waits_since(self) -> float:
        """When the wait for a request, or its body, began, by the event loop's clock."""
        return self._waits_since

    def is_overdue(self, now: float) -> bool:
        """Tell whether the client has exceeded a timeout."""
        limits = self._limits
        if self._blocked_since is not None and now - self._blocked_since > limits.write_seconds:
            return True
        if self.flow.read_paused:
            return False  # reading is paused, so the client cannot send
        waited = now - self._waits_since
        if self.conn.their_state is h11.IDLE:
            return waited > limits.header_seconds
        if self.conn.their_state is h11.SEND_BODY:
            return waited > limits.body_seconds + self._received / limits.body_rate
        return False

    def expire(self) -> None:
        """Close the connection; a client that waits for a response is told why."""
        if self._is_expired or self._blocked_since is not None:
            self.transport.abort()  # the client does not read the response
            return
        self._is_expired = True
        has_begun = self.conn.their_state is not h11.IDLE or bool(self.conn.trailing_data[0])
        if has_begun and not self._is_answering():
            self.transport.write(_TIMED_OUT)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Note progress: every byte of a body counts, of headers none."""
        before, cycle = self.conn.their_state, self.cycle
        super().data_received(data)
        if self.cycle is not cycle or (before is not h11.IDLE and self.conn.their_state is h11.IDLE):
            self._restart_wait()
        elif before is h11.SEND_BODY:
            self._received += len(data)

    def on_response_complete(self) -> None:
        """Start waiting for the next request."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._restart_wait()

    def send_400_response(self, msg: str) -> None:
        """Reject malformed HTTP; if it follows a request in progress, that request needs no answer.

        uvicorn would answer twice and log a traceback.
        """
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # a response has started
            self.transport.close()

    def pause_writing(self) -> None:
        """Note that the client has stopped reading."""
        super().pause_writing()
        self._blocked_since = self.loop.time()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._blocked_since = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._blocked_since = None

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # may be None, despite uvicorn's type
        return cycle is not None and cycle.response_started and not cycle.response_complete

    def _restart_wait(self) -> None:
        self._waits_since = self.loop.time()
        self._received = 0
