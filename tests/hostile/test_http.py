"""HTTP clients that stall, send ambiguous requests, or flood the log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.stage import OUTSPOOL, free_port

SERVER = Path(__file__).parents[1] / "support" / "limited_server.py"
QUICK = {"header_seconds": 1.0, "body_seconds": 1.0, "write_seconds": 1.0}
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
)
ACCEPT = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"


@dataclass
class Server:
    """A server in a process of its own, and what it has logged."""

    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def connect(self, timeout: float = 30) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, request: str | bytes, *, timeout: float = 30) -> bytes:
        """Send bytes, and return all that comes back until the server closes or says nothing more for a while."""
        with self.connect(timeout) as line:
            line.sendall(request if isinstance(request, bytes) else request.encode("latin-1"))
            return read_all(line)

    def health(self, timeout: float = 5) -> bytes:
        return self.ask("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", timeout=timeout)

    def logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="surrogateescape")


def read_all(line: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := line.recv(65536):
            found += data
    return found


@contextmanager
def running(folder: Path, command: list[str], *, files: int | None = None) -> Iterator[Server]:
    """Run a server that may have so many `files` open, until the block ends."""
    port = int(command[-1]) if command[-1].isdigit() else int(command[-2])
    limit = f"ulimit -n {files}; " if files else ""
    log = folder / "server.log"
    environment = {"PATH": os.environ["PATH"], "OUTSPOOL_DATA_DIR": str(folder / "data"), "OUTSPOOL_SANDBOX": "1"}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{limit}exec {shlex.join(command)}"], cwd=folder, env=environment, stderr=errors
        )
        try:
            server = Server(port, log, process)
            until(lambda: is_up(server), 30)
            yield server
        finally:
            process.terminate()
            assert process.wait(20) == 0, server.logged()[-3000:]


def is_up(server: Server) -> bool:
    assert server.process.poll() is None, server.logged()
    try:
        return b"200 OK" in server.health()
    except OSError:
        return False


def until(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running `outspool serve`."""
    with running(tmp_path_factory.mktemp("served"), [*OUTSPOOL, "serve", "--port", str(free_port())]) as server:
        yield server


@contextmanager
def limited(folder: Path, *, files: int | None = None, **limits: float) -> Iterator[Server]:
    command = [sys.executable, str(SERVER), str(free_port()), json.dumps({**QUICK, **limits})]
    with running(folder, command, files=files) as server:
        yield server


def open_many(server: Server, number: int, opening: bytes, stack: ExitStack) -> list[socket.socket]:
    lines = [stack.enter_context(server.connect()) for _ in range(number)]
    for line in lines:
        with contextlib.suppress(OSError):
            line.sendall(opening)
    return lines


def count_closed(lines: list[socket.socket]) -> int:
    """Return on how many lines the server has said its last."""
    closed = 0
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line, selectors.EVENT_READ)
        for key, _ in selector.select(0):
            with contextlib.suppress(BlockingIOError):
                try:
                    closed += not key.fileobj.recv(65536, socket.MSG_DONTWAIT)  # type: ignore[union-attr]
                except ConnectionResetError:
                    closed += 1
    return closed


HALF_OPEN = {
    "nothing": b"",
    "half a line": b"GET /heal",
    "half the headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: 1\r\n",
    "half a body": b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    "half a chunk": b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{",
}


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="there is no ulimit")
def test_three_hundred_half_open_requests_under_a_low_file_limit_stop_nobody(tmp_path: Path) -> None:
    command = [*OUTSPOOL, "serve", "--port", str(free_port())]
    with running(tmp_path, command, files=256) as server, ExitStack() as stack:
        lines = open_many(server, 300, HALF_OPEN["half the headers"], stack)
        for _ in range(20):
            began = time.monotonic()
            assert b"200 OK" in server.health()
            assert time.monotonic() - began < 2
        for line in lines:
            line.settimeout(30)
        until(lambda: count_closed(lines) == 300, 25)
        assert b"200 OK" in server.health()
        assert len(server.logged()) < 20_000, server.logged()[:2000]


@pytest.mark.skipif(os.name == "nt", reason="there is no ulimit")
@pytest.mark.parametrize("opening", HALF_OPEN)
def test_whatever_half_of_a_request_comes_its_connection_ends(tmp_path: Path, opening: str) -> None:
    with limited(tmp_path, files=96, connections=48) as server, ExitStack() as stack:
        lines = open_many(server, 150, HALF_OPEN[opening], stack)
        assert b"200 OK" in server.health()
        until(lambda: count_closed(lines) == 150, 10)
        assert "Traceback" not in server.logged()
        assert len(server.logged()) < 5_000


@pytest.mark.skipif(os.name == "nt", reason="there is no ulimit")
def test_without_files_it_backs_off_says_so_once_and_comes_back(tmp_path: Path) -> None:
    with limited(tmp_path, files=64, connections=1000) as server:
        with ExitStack() as stack:
            open_many(server, 100, b"", stack)
            until(lambda: "no more files" in server.logged(), 10)
            assert b"200 OK" in server.health(20)
        until(lambda: is_up(server), 10)
        assert 1 <= server.logged().count("no more files") <= 20
        assert len(server.logged()) < 10_000
        assert "Traceback" not in server.logged()


@pytest.mark.parametrize(
    "opening", [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", HALF_OPEN["half a body"]], ids=["headers", "body"]
)
def test_a_client_that_sends_a_byte_now_and_then_is_told_and_dropped(tmp_path: Path, opening: bytes) -> None:
    with limited(tmp_path) as server, server.connect() as line:
        line.sendall(opening)
        line.settimeout(0.1)
        answer, began = b"", time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 30:
                line.sendall(b"a")
                with contextlib.suppress(TimeoutError):
                    if not (data := line.recv(1000)):
                        break
                    answer += data
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began < 15  # a busy machine takes a while


def test_a_large_upload_on_a_slow_line_is_not_dropped(tmp_path: Path) -> None:
    body = INITIALIZE.encode() + b" " * 400_000
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with limited(tmp_path, body_rate=50_000.0) as server, server.connect() as line:
        line.sendall(head.encode())
        for start in range(0, len(body), 20_000):
            line.sendall(body[start : start + 20_000])
            time.sleep(0.15)  # the line is slow
        assert read_all(line).startswith(b"HTTP/1.1 200 ")


def test_an_idle_client_of_a_stream_is_not_dropped(tmp_path: Path) -> None:
    with limited(tmp_path) as server, server.connect() as line:
        line.sendall(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: b"session_id" in line.recv(65536, socket.MSG_PEEK), 10)
        line.settimeout(4)
        line.recv(65536)
        with pytest.raises(TimeoutError):
            line.recv(1)
        assert b"200 OK" in server.health()


def is_dropped(line: socket.socket, request: bytes) -> bool:
    """Ask once more, without reading, and return whether the server has closed the connection."""
    try:
        line.sendall(request * 100)
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def test_a_client_that_reads_nothing_of_what_it_asks_for_is_dropped(tmp_path: Path) -> None:
    with limited(tmp_path) as server:
        head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: {len(INITIALIZE)}\r\n"
        opened = server.ask(f"{head}Connection: close\r\n\r\n{INITIALIZE}")
        session = re.search(rb"(?i)mcp-session-id: (\S+)", opened)
        assert session
        body = json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}})
        head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {session[1].decode()}\r\n{ACCEPT}"
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            line.connect(("127.0.0.1", server.port))
            line.settimeout(0.2)
            request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
            until(lambda: is_dropped(line, request), 30)
        assert b"200 OK" in server.health()
        assert "Traceback" not in server.logged(), server.logged()[-3000:]


def test_a_request_above_the_limit_is_refused_and_health_still_answers(tmp_path: Path) -> None:
    with limited(tmp_path, connections=4) as server, ExitStack() as stack:
        streams = open_many(server, 4, b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n", stack)
        for line in streams:
            assert b"200 OK" in line.recv(1000)
        assert server.ask("GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        assert b"200 OK" in server.health()


SMUGGLED = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
AMBIGUOUS = {
    "length and encoding": "Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "encoding and length": "Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n\r\n0\r\n\r\n",
    "small letters": "content-length: {n}\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    "identity": "Content-Length: 4\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 0\r\nContent-Length: {n}\r\n\r\n",
    "a list of lengths": "Content-Length: 0, {n}\r\n\r\n",
    "a sign": "Content-Length: +0\r\n\r\n",
    "hexadecimal": "Content-Length: 0x0\r\n\r\n",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a space before the colon": "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "an unknown encoding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded line": "X: y\r\n Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
@pytest.mark.parametrize("path", ["/mcp", "/healthz", "/messages/?session_id=1"])
def test_a_request_that_two_readers_end_differently_is_refused_and_nothing_after_it_read(
    served: Server, case: str, path: str
) -> None:
    tail = AMBIGUOUS[case].format(n=len(SMUGGLED) + 5)
    answer = served.ask(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{tail}{SMUGGLED}")
    assert re.match(rb"HTTP/1\.1 (400|501) ", answer), answer
    assert b'"ok"' not in answer
    assert answer.count(b"HTTP/1.1 ") == 1


def test_chunks_in_an_old_version_are_refused(served: Server) -> None:
    request = f"POST /mcp HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    answer = served.ask(request)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"ok"' not in answer


@pytest.mark.parametrize("length", [100_000, 14_000])
@pytest.mark.parametrize("where", ["query", "header", "host", "path", "origin"])
def test_a_long_name_of_a_strangers_is_not_logged_whole(served: Server, where: str, length: int) -> None:
    long = "a" * length
    before = len(served.logged())
    request = {
        "query": f"POST /messages/?session_id={long} HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: 0\r\n",
        "header": f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nMcp-Session-Id: {long}\r\n{ACCEPT}",
        "host": f"GET /mcp HTTP/1.1\r\nHost: {long}\r\n",
        "path": f"GET /{long} HTTP/1.1\r\nHost: localhost\r\n",
        "origin": f"GET /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: {long}\r\n",
    }[where]
    answer = served.ask(f"{request}Connection: close\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]
    assert b"200 OK" in served.health()
    assert len(served.logged()) - before < 3_000
    assert max(map(len, served.logged().splitlines())) < 2_200


@pytest.mark.parametrize("path", ["/mcp", "/messages/?session_id=00000000000000000000000000000000"])
@pytest.mark.parametrize("way", ["length", "chunks", "reset"])
def test_an_upload_that_breaks_off_leaves_no_traceback(served: Server, path: str, way: str) -> None:
    framing = "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" if way == "chunks" else "Content-Length: 100000\r\n\r\n"
    for _ in range(20):
        with served.connect() as line:
            line.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}{framing}{{".encode())
            if way == "reset":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert b"200 OK" in served.health()
    assert "Traceback" not in served.logged(), served.logged()[served.logged().index("Traceback") - 300 :][:6000]
    assert "Exception in ASGI" not in served.logged()


TRICKS = ["\x1b]0;owned\x07\x1b[2J", "\x9b31m", "a\x85b", "a\xa0b\xad", "evil\x7f", "a\tb"]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("where", ["Host", "Origin", "Mcp-Session-Id", "Mcp-Protocol-Version", "Upgrade", "path"])
def test_no_escape_of_a_strangers_reaches_the_log(served: Server, where: str, trick: str) -> None:
    path = f"/messages/?session_id={trick}" if where == "path" else "/mcp"
    host = "" if where == "Host" else "Host: localhost\r\n"
    header = "" if where == "path" else f"{where}: {trick}\r\n"
    served.ask(f"POST {path} HTTP/1.1\r\n{host}{header}{ACCEPT}Content-Length: 2\r\nConnection: close\r\n\r\n{{}}")
    quoted = "".join(f"%{byte:02X}" for byte in trick.encode("latin-1"))
    served.ask(
        f"POST /messages/?session_id={quoted} HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: 2\r\n"
        "Connection: close\r\n\r\n{}"
    )
    assert all(line.isprintable() for line in served.logged().split("\n"))


def test_no_line_of_the_log_can_be_forged(served: Server) -> None:
    forged = "2026-01-01 00:00:00,000 ERROR outspool: forged"
    quoted = "%0D%0A".join(["x", *forged.split("\n")]).replace(" ", "%20")
    served.ask(
        f"POST /messages/?session_id={quoted} HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: 2\r\n"
        "Connection: close\r\n\r\n{}"
    )
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": f"x\n{forged}\x1b[2J", "params": {"a\nb": f"\n{forged}"}})
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: {len(body)}\r\nConnection: close\r\n"
    served.ask(f"{head}\r\n{body}")
    assert not any(line.startswith(forged) for line in served.logged().split("\n"))


HOSTS = [
    *("localhost:80.evil.example", "localhost:80@evil.example", "localhost:", "localhost:8000:80", "localhost:\xb2"),
    *("localhost:-1", "localhost:+80", "localhost: 80", "localhost:80 ", "localhost:99999", "localhost:080000"),
    *("localhost.", "localhost.evil.example", "evil.example/localhost", "evil.example:localhost", "[::1]:80.evil"),
    *("127.0.0.1:80#.evil.example", "127.0.0.1:80/evil", "127.0.0.1:80, evil.example", "[::1", "127.1", "2130706433"),
    *("", "localhost:8\x000", "user@localhost", "xlocalhost:80"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_compared_whole(served: Server, host: str) -> None:
    sent = f"POST /mcp HTTP/1.1\r\nHost: {host}\r\n{ACCEPT}Content-Length: {len(INITIALIZE)}\r\nConnection: close\r\n"
    answer = served.ask(f"{sent}\r\n{INITIALIZE}")
    allowed = host.strip() in ("localhost", "localhost:80")  # blanks around a value are no part of it
    assert re.match(rb"HTTP/1\.1 200 " if allowed else rb"HTTP/1\.1 4(21|00) ", answer), answer[:100]


@pytest.mark.parametrize("host", HOSTS)
def test_an_origin_is_compared_whole(served: Server, host: str) -> None:
    sent = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: http://{host}\r\n{ACCEPT}"
    answer = served.ask(f"{sent}Content-Length: {len(INITIALIZE)}\r\nConnection: close\r\n\r\n{INITIALIZE}")
    allowed = host.strip() in ("localhost", "localhost:80")
    assert re.match(rb"HTTP/1\.1 200 " if allowed else rb"HTTP/1\.1 4(03|00) ", answer), answer[:100]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:65535", "[::1]:1", "[::1]"])
def test_this_machine_is_let_in_by_each_of_its_names(served: Server, host: str) -> None:
    sent = f"POST /mcp HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n{ACCEPT}Content-Length: {len(INITIALIZE)}"
    assert served.ask(f"{sent}\r\nConnection: close\r\n\r\n{INITIALIZE}").startswith(b"HTTP/1.1 200 ")


def test_two_hosts_are_none(served: Server) -> None:
    for hosts in ("Host: localhost\r\nHost: evil.example\r\n", "Host: evil.example\r\nHost: localhost\r\n", ""):
        assert re.match(rb"HTTP/1\.1 4(00|21) ", served.ask(f"GET /mcp HTTP/1.1\r\n{hosts}\r\n"))


def test_a_flood_of_refusals_does_not_fill_the_log(tmp_path: Path) -> None:
    with limited(tmp_path) as server:
        request = "GET /mcp HTTP/1.1\r\nHost: evil{n}.example\r\n\r\n"

        def flood(worker: int) -> None:
            for n in range(500):
                server.ask(request.format(n=worker * 1000 + n))

        threads = [threading.Thread(target=flood, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert server.logged().count("whose Host is") <= 30
        assert "more like this are not logged" in server.logged()


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"jsonrpc": "2.0"}', '{"jsonrpc": "2.0", "method": 1, "id": "secret"}', "null"]
)
def test_what_is_no_message_leaves_neither_a_traceback_nor_itself_in_the_log(served: Server, body: str) -> None:
    body = body.replace("}", ', "x": "ada@example.com"}') if body.endswith("}") else body
    with served.connect() as stream:
        stream.sendall(b"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n")
        found = b""
        while not (session := re.search(rb"session_id=([0-9a-f]{32})", found)):
            found += stream.recv(4096)
        for path in ("/mcp", f"/messages/?session_id={session[1].decode()}"):
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{ACCEPT}Content-Length: {len(body)}\r\n"
            answer = served.ask(f"{head}Connection: close\r\n\r\n{body}")
            assert re.match(rb"HTTP/1\.1 (4\d\d|202) ", answer), answer
    assert b"200 OK" in served.health()
    assert "ada@example.com" not in served.logged()
    assert "Traceback" not in served.logged(), served.logged()[-3000:]
