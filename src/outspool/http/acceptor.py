"""Accepts connections up to a limit, and waits when the process is out of file descriptors.

asyncio's own loop does neither: out of descriptors, it logs a traceback for each place in its backlog, every second.
"""

from __future__ import annotations

import asyncio
import errno
import heapq
import logging
import socket
from collections.abc import Callable, MutableSet
from contextlib import suppress
from typing import Any

from outspool.http.connection import Connection

logger = logging.getLogger(__name__)

OVERFLOW = 16
"""Connections beyond the limit that get an error; further ones wait in the system's queue."""

_MIN_AGE_SECONDS = 1.0
"""A connection without a request is safe for this long before it may be dropped for others."""

_DROP_SHARE = 32
"""Share of the connections dropped at once when there is no room: one of this many."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two attempts without descriptors."""

_KEEPALIVE_SECONDS = 60
"""TCP keepalive: silent connections are probed after this long."""


class Acceptor:
    """Accepts on one listening socket until canceled."""

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        open_connections: MutableSet[Any],
        *,
        limit: int,
    ) -> None:
        """`open_connections` is the set of connections, kept up to date by uvicorn."""
        self._listener = listener
        self._make_protocol = make_protocol
        self._open = open_connections
        self._limit = limit
        self._pause = 0.0

    async def run(self) -> None:
        """Accept forever; errors of clients and the system are handled here."""
        self._listener.settimeout(0)
        while True:
            try:
                await self._accept_one()
            except OSError as error:
                await self._back_off(error)
            except Exception:
                logger.exception("a connection could not be accepted")
                await asyncio.sleep(_LONGEST_PAUSE)

    async def _accept_one(self) -> None:
        if len(self._open) >= self._limit:
            self._make_room(min_age=_MIN_AGE_SECONDS)
        if len(self._open) >= self._limit + OVERFLOW and not self._make_room():
            await asyncio.sleep(_FIRST_PAUSE)
            return
        accepted, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._pause = 0.0
        await self._connect(accepted)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            _enable_keepalive(accepted)
            await asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, accepted)
        except OSError:
            accepted.close()  # the client has disconnected

    async def _back_off(self, error: OSError) -> None:
        """Wait for free descriptors; errors of a single client need no wait."""
        if error.errno not in _OUT_OF_RESOURCES:
            await asyncio.sleep(0)
            return
        if not self._pause:
            logger.warning(
                "The system gives no more files to this process: connections wait. Raise the limit (ulimit -n)."
            )
        self._pause = min(max(self._pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        self._make_room()
        await asyncio.sleep(self._pause)

    def _make_room(self, *, min_age: float = 0.0) -> bool:
        """Drop the longest idle connections, at least `min_age` seconds old; False if there are none.

        Several at once, because scanning all for each new connection would let a flood cause much work.
        """
        latest = asyncio.get_running_loop().time() - min_age
        idle = [
            connection
            for connection in self._open
            if isinstance(connection, Connection) and connection.is_idle and connection.waits_since <= latest
        ]
        oldest = heapq.nsmallest(
            max(1, self._limit // _DROP_SHARE), idle, key=lambda connection: connection.waits_since
        )
        for connection in oldest:
            self._open.discard(connection)  # now: uvicorn removes it only in the loop's next iteration
            connection.transport.abort()
        return bool(oldest)


def _enable_keepalive(accepted: socket.socket) -> None:
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", _KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, option, value)
