"""Runs the ASGI app on a loopback socket; other addresses are refused, because there are no tokens yet."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import uvicorn
from starlette.applications import Starlette

from outspool.errors import MisconfiguredError, brief
from outspool.http.acceptor import OVERFLOW, Acceptor
from outspool.http.connection import Connection
from outspool.http.limits import HttpLimits, connections_within

log = logging.getLogger(__name__)

_TICKS_A_SECOND = 10
"""How often uvicorn calls `on_tick`."""

_GRACE = 3
"""Seconds that open SSE streams, which never end by themselves, get at shutdown."""


async def serve(app: Starlette, host: str, port: int, *, limits: HttpLimits | None = None) -> None:
    """Run `app` with its lifespan until SIGINT or SIGTERM; port 0 takes any free one, which is logged.

    `limits` are those that `app` was built with. Raises `MisconfiguredError` if `host` is not loopback, or cannot be
    bound, and whatever the lifespan raises.
    """
    limits = limits or limits_of_process()
    addresses = await check_bind(host)
    with closing(_listen(addresses[0], port)) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",  # entered here: uvicorn would only log its errors
            timeout_graceful_shutdown=_GRACE,
            server_header=False,
            ws="none",
            limit_concurrency=limits.connections + OVERFLOW,
        )
        async with app.router.lifespan_context(app):
            log.info("serving %s", _url(listener))
            await _Server(config, limits).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server with another way to accept and to stop.

    uvicorn raises the signal again after stopping, which would kill the process before the lifespan ends.
    """

    def __init__(self, config: uvicorn.Config, limits: HttpLimits) -> None:
        super().__init__(config)
        self._limits = limits
        self._accepting: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, within the limits."""
        self.servers = []

        def connection() -> asyncio.Protocol:
            return Connection(self.config, self.server_state, {}, limits=self._limits)

        for listener in sockets or ():
            acceptor = Acceptor(listener, connection, self.server_state.connections, limit=self._limits.connections)
            self._accepting.append(asyncio.create_task(acceptor.run(), name="outspool-accept"))
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Drop overdue clients, once a second."""
        if counter % _TICKS_A_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, Connection) and connection.is_overdue(now):
                    connection.expire()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, then close open connections."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop serving on SIGINT and SIGTERM, and return to the caller."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def check_bind(host: str) -> list[str]:
    """Return the addresses of `host`, all of them loopback.

    Raises `MisconfiguredError` if one is not, or if there are none.
    """
    name = host.strip().removeprefix("[").removesuffix("]")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM) if name else []
    except (OSError, UnicodeError):
        found = []
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not addresses:
        raise MisconfiguredError(f"The host {brief(host)} is no address of this machine.", "Use --host 127.0.0.1.")
    if not all(_is_loopback(address) for address in addresses):
        raise MisconfiguredError(
            f"Refusing to listen on {brief(host)}: anybody who reaches it could send email as you, and access tokens "
            "are not there yet.",
            "Use --host 127.0.0.1, with an SSH tunnel or an authenticating reverse proxy on the same machine.",
        )
    return addresses


def _is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _listen(address: str, port: int) -> socket.socket:
    """Bind the socket here, because uvicorn would log a traceback and exit on failure."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without this a restart fails for a minute; on Windows it would let two servers share the port.
        if hasattr(socket, "AF_UNIX"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        is_in_use = getattr(error, "errno", None) == errno.EADDRINUSE
        why = "is in use by another process" if is_in_use else f"cannot be had: {error}"
        raise MisconfiguredError(f"Port {port} on {address} {why}.", "Choose another with --port.") from None
    return listener


def limits_of_process() -> HttpLimits:
    """Return limits that leave descriptors for the rest of this process."""
    return HttpLimits(connections=connections_within(_file_limit()))


def _file_limit() -> int | None:
    """Return this process's limit of open files; None if it is unknown."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft_limit == resource.RLIM_INFINITY else soft_limit


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
