"""The HTTP face rejects other sites and other machines, and shuts down in order."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from outspool.errors import MisconfiguredError
from outspool.http.asgi import build_app
from outspool.http.serve import check_bind, serve
from outspool.mcp.server import build_server
from outspool.services.acceptance.outbox import Outbox

NO_OUTBOX = cast(Outbox, None)
ROUTES = [("GET", "/sse"), ("POST", "/messages/?session_id=1"), ("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/nowhere")]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}

SERVER = """
import asyncio, sys
from contextlib import asynccontextmanager
from pathlib import Path
from outspool.http.asgi import build_app
from outspool.http.serve import serve
from outspool.mcp.server import build_server

@asynccontextmanager
async def runtime():
    with open(sys.argv[2], "a") as log:
        log.write("up ")
        log.flush()
        try:
            yield
        finally:
            await asyncio.sleep(0)
            log.write("down ")

app = build_app(build_server(lambda _name, _version: None), lifespan_context=runtime)
asyncio.run(serve(app, "127.0.0.1", int(sys.argv[1])))
"""


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def client(**names: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a running app, asking for it as 127.0.0.1:8000."""
    app = build_app(build_server(lambda _name, _version: NO_OUTBOX), lifespan_context=nothing, **names)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
            yield http


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example:8000", "0.0.0.0:8000"])
async def test_a_foreign_host_is_refused_on_every_route(method: str, path: str, host: str) -> None:
    async with client() as http:
        answer = await http.request(method, path, headers={"Host": host, **ACCEPT}, json=INITIALIZE)
    assert answer.status_code == 421


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", "http://localhost.evil.example:80"]
)
async def test_a_foreign_origin_is_refused_on_every_route(method: str, path: str, origin: str) -> None:
    async with client() as http:
        answer = await http.request(method, path, headers={"Origin": origin, **ACCEPT}, json=INITIALIZE)
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:1", "localhost", "[::1]:8000"])
async def test_loopback_by_any_name_and_port_is_let_in(host: str) -> None:
    async with client() as http:
        headers = {"Host": host, "Origin": f"http://{host}", **ACCEPT}
        answer = await http.post("/mcp", headers=headers, json=INITIALIZE)
    assert answer.status_code == 200
    assert "outspool" in answer.text


async def test_an_allowed_host_without_port_allows_every_port_and_nothing_else() -> None:
    async with client(allowed_hosts=["mail.example.com"]) as http:
        for host, code in [("mail.example.com", 200), ("mail.example.com:8443", 200), ("127.0.0.1:8000", 421)]:
            answer = await http.post("/mcp", headers={"Host": host, **ACCEPT}, json=INITIALIZE)
            assert answer.status_code == code, host


async def test_health_answers_whatever_the_host_and_tells_nothing_else() -> None:
    async with client() as http:
        answer = await http.get("/healthz", headers={"Host": "10.0.0.7"})
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


async def test_a_body_that_is_no_json_is_refused_in_both_transports() -> None:
    async with client() as http:
        for path in ("/mcp", "/messages/?session_id=1"):
            answer = await http.post(path, content=b"\xff{", headers={"Content-Type": "application/json", **ACCEPT})
            assert answer.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"])
async def test_loopback_may_be_bound(host: str) -> None:
    assert await check_bind(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "192.168.0.9", "::ffff:0.0.0.0", "::ffff:10.0.0.1", "0"])
async def test_beyond_loopback_is_refused_while_there_are_no_tokens(host: str) -> None:
    with pytest.raises(MisconfiguredError, match="tokens are not there yet"):
        await check_bind(host)


@pytest.mark.parametrize("host", ["", "  ", "no-such-host.invalid", "127.0.0.1:8000", "a" * 300, "\ud800", "x\x00y"])
async def test_a_host_that_is_no_address_is_refused_in_one_sentence(host: str) -> None:
    with pytest.raises(MisconfiguredError, match="no address of this machine"):
        await check_bind(host)


async def test_a_port_in_use_is_one_clear_sentence(free_port: int) -> None:
    app = build_app(build_server(lambda _name, _version: NO_OUTBOX), lifespan_context=nothing)
    with socket.socket() as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with pytest.raises(MisconfiguredError, match=f"Port {free_port} on 127.0.0.1 is in use"):
            await serve(app, "127.0.0.1", free_port)


@pytest.mark.parametrize("port", [-1, 70_000])
async def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(MisconfiguredError, match="cannot be had"):
        await serve(
            build_app(build_server(lambda _name, _version: NO_OUTBOX), lifespan_context=nothing), "127.0.0.1", port
        )


async def test_what_the_runtime_raises_at_start_comes_through() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise MisconfiguredError("no.")
        yield

    with pytest.raises(MisconfiguredError, match="no"):
        await serve(build_app(build_server(lambda _name, _version: NO_OUTBOX), lifespan_context=broken), "127.0.0.1", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_runtime_once_even_with_open_sse_streams(
    number: signal.Signals, free_port: int, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    url = f"http://127.0.0.1:{free_port}"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(free_port), str(log), stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        await alive(http, server)
        async with http.stream("GET", "/sse") as one, http.stream("GET", "/sse") as two:
            assert (one.status_code, two.status_code) == (200, 200)
            server.send_signal(number)
            _, errors = await asyncio.wait_for(server.communicate(), 20)
    assert server.returncode == 0, errors.decode()
    assert b"Traceback" not in errors, errors.decode()
    assert log.read_text() == "up down "


async def alive(http: httpx.AsyncClient, server: asyncio.subprocess.Process) -> None:
    """Wait until the server answers, as long as it runs."""
    async with asyncio.timeout(20):
        while server.returncode is None:
            try:
                await http.get("/healthz")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return
    raise AssertionError("the server ended")
