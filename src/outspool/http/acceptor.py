"""Accepts connections, as many as there may be, and waits when the system has no files left.

asyncio's own loop does neither: without files it logs a traceback for each place in its backlog, and does so again
every second for each of them.
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
"""Connections above the limit that are told so; the next wait in the system's queue."""

_YOUNG_SECONDS = 1.0
"""So long a connection may take for its request before it is dropped for others."""

_PART = 32
"""Of this many connections one is dropped when there is no room."""

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds between two attempts while there are no files."""

_KEEPALIVE_SECONDS = 60
"""After this long without a word the system asks whether the other side still lives."""


class Acceptor:
    """Accepts on one listening socket until it is canceled."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        open_connections: MutableSet[Any],
        *,
        limit: int,
    ) -> None:
        """`open_connections` are those that there are, kept up to date by uvicorn."""
        self._listener = listener
        self._make = make
        self._open = open_connections
        self._limit = limit
        self._pause = 0.0

    async def run(self) -> None:
        """Accept; raise nothing that a client or the system causes."""
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
            self._make_room(min_age=_YOUNG_SECONDS)
        if len(self._open) >= self._limit + OVERFLOW and not self._make_room():
            await asyncio.sleep(_FIRST_PAUSE)
            return
        accepted, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._pause = 0.0
        await self._connect(accepted)

    async def _connect(self, accepted: socket.socket) -> None:
        try:
            _ask_whether_it_lives(accepted)
            await asyncio.get_running_loop().connect_accepted_socket(self._make, accepted)
        except OSError:
            accepted.close()  # it went away again

    async def _back_off(self, error: OSError) -> None:
        """Wait until there may be files again. What only this client has done needs no wait."""
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
        """Drop those that have kept us waiting for a request longest, `min_age` seconds at least; False for none.

        Some at once: to look at all of them for each that comes would be work for a flood to make.
        """
        latest = asyncio.get_running_loop().time() - min_age
        idle = [
            connection
            for connection in self._open
            if isinstance(connection, Connection) and connection.is_idle and connection.waits_since <= latest
        ]
        oldest = heapq.nsmallest(max(1, self._limit // _PART), idle, key=lambda connection: connection.waits_since)
        for connection in oldest:
            self._open.discard(connection)  # not in the loop's next round, when its file is closed
            connection.transport.abort()
        return bool(oldest)


def _ask_whether_it_lives(accepted: socket.socket) -> None:
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", _KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, option, value)
