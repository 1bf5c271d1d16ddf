"""A real Postgres server for tests.

Every server is private to the process that started it: a directory, a port and a password of its own. It goes away
with that process, even when that is killed.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import asyncpg

from support.postgres_binaries import PostgresBinaries, PostgresUnusableError, postgres_binaries

PATIENCE = 30.0  # seconds a start or a stop may take on a busy machine

# Reads process ids until its input ends, which it does whichever way the tests end. What the last of them and its
# children still write while they die may make a removal fail.
WATCHER = """
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -QUIT -- "-$pid"
tries=0
until rm -rf -- "$1" || [ "$tries" -eq 100 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
"""


class _Watcher:
    """Ends a process and removes a directory when the tests are over, also when nobody could clean up any more."""

    def __init__(self, directory: Path) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", WATCHER, "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, pid: int | None) -> None:
        """Watch over `pid`, the leader of its session, instead of whatever was watched before."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(b"%d\n" % pid if pid else b"\n")
        self._shell.stdin.flush()

    def close(self) -> None:
        """Let it do its work, and wait for that."""
        self._shell.communicate(timeout=PATIENCE)


class PostgresServer:
    """One server on a loopback port, which stays the same over `stop` and `start`; `close` removes every trace.

    As a context manager it is started and closed. Without `fsync` commits survive the death of the server, not of the
    machine; all else is as in earnest. Every method raises `PostgresUnusableError` when it cannot do what it says.
    """

    def __init__(self, *, fsync: bool = False, shared_buffers: str = "32MB", max_wal_size: str = "64MB") -> None:
        """Lay out an empty cluster; `start` runs it."""
        self._fsync = "on" if fsync else "off"
        self._shared_buffers = shared_buffers
        self._max_wal_size = max_wal_size
        self._password = secrets.token_hex(16)
        self._port: int | None = None
        self._postgres: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="outspool-pg-"))
        self._watcher = _Watcher(self._directory)
        try:
            self._binaries = self._initialise()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Start."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the running server, for signals."""
        assert self._postgres is not None, "the server is stopped"
        return self._postgres.pid

    def url(self, database: str = "postgres") -> str:
        """Return the URL of `database` on this server; it keeps its meaning over a restart."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start, and return when connections are welcome."""
        assert self._postgres is None, "the server runs already"
        deadline = time.monotonic() + PATIENCE
        known_port = self._port
        while time.monotonic() < deadline:
            self._port = known_port or _free_port()
            self._launch(self._port)
            if self._is_ready(deadline):
                return
            self.stop(immediately=True)  # most likely somebody else took the port meanwhile
        log = (self._directory / "log").read_text(errors="replace")
        raise PostgresUnusableError(f"Postgres does not start:\n{log[-2000:]}")

    def stop(self, *, immediately: bool = False) -> None:
        """Stop: roll back and disconnect everybody, or die at once as in a crash when `immediately`."""
        if self._postgres is not None:
            self._postgres.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            self._postgres.wait(PATIENCE)
            self._watcher.watch(None)
            self._postgres = None

    def restart(self, *, immediately: bool = False) -> None:
        """Stop and start again on the same port."""
        self.stop(immediately=immediately)
        self.start()

    def close(self) -> None:
        """Stop, and remove the directory."""
        try:
            self.stop(immediately=True)
        finally:
            self._watcher.close()

    def _initialise(self) -> PostgresBinaries:
        """Run `initdb` the first way that works, and return that way."""
        password = self._directory / "password"
        password.write_text(self._password)
        program, options = self._making(password)
        obstacles = []
        for binaries in postgres_binaries(self._directory):
            binaries.hand_over(self._directory, password)
            try:
                self._run(binaries, binaries.command(program, *options))
            except PostgresUnusableError as error:
                obstacles.append(f"  {error}\n")
                shutil.rmtree(self._directory / "data", ignore_errors=True)
            else:
                return binaries
        advice = "Run the tests as an ordinary user, or set TEST_DATABASE_URL."
        raise PostgresUnusableError(f"Postgres cannot run here:\n{''.join(obstacles)}{advice}")

    def _making(self, password: Path) -> tuple[str, list[str]]:
        """Return the program, and its options, that lays out the cluster."""
        options = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--wal-segsize=1"]
        options += ["--username=postgres", "--auth=password", f"--pwfile={password}", "--pgdata=data"]
        return "initdb", options

    def _run(self, binaries: PostgresBinaries, command: Sequence[str]) -> None:
        """Run `command` to its end; when it fails its last line says why."""
        with tempfile.TemporaryFile() as log:
            try:
                process = binaries.start(command, directory=self._directory, log=log.fileno())
            except OSError as error:
                raise PostgresUnusableError(f"{command[0]}: {error.strerror}") from error
            self._watcher.watch(process.pid)
            try:
                code = process.wait(PATIENCE)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
            self._watcher.watch(None)
            log.seek(0)
            last_line = log.read().decode(errors="replace").strip().rpartition("\n")[2]
        if code:
            raise PostgresUnusableError(f"{command[0]} ended with {code}: {last_line}")

    def _launch(self, port: int) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": self._shared_buffers,
            "max_wal_size": self._max_wal_size,
            "fsync": self._fsync,
            "full_page_writes": self._fsync,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = self._binaries.command("postgres", "-D", "data", *options)
        with (self._directory / "log").open("ab") as log:
            self._postgres = self._binaries.start(command, directory=self._directory, log=log.fileno())
        self._watcher.watch(self._postgres.pid)

    def _is_ready(self, deadline: float) -> bool:
        """Wait until the server's own status file says ready; a connection might reach somebody else's server."""
        status = self._directory / "data" / "postmaster.pid"
        while time.monotonic() < deadline and self._postgres is not None and self._postgres.poll() is None:
            lines = status.read_text().splitlines() if status.exists() else []
            if lines and lines[0] == str(self._postgres.pid) and lines[-1].strip() == "ready":
                return True
            time.sleep(0.02)
        return False


class PostgresStandby(PostgresServer):
    """A standby that streams from a running server, asynchronously unless that waits for it."""

    def __init__(self, primary: PostgresServer) -> None:
        """Copy `primary` as it is now; `start` follows it."""
        self._primary = primary
        super().__init__()
        self._password = primary._password

    def promote(self) -> None:
        """Make it a primary."""
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(asyncio.run, _execute(self.url(), "SELECT pg_promote()")).result()

    def _making(self, password: Path) -> tuple[str, list[str]]:
        del password
        return "pg_basebackup", ["--pgdata=data", "--write-recovery-conf", "--dbname", self._primary.url()]


def _free_port() -> int:
    """Return a free loopback port outside the range from which systems take ports for outgoing connections."""
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@contextmanager
def fresh_database(admin_url: str) -> Iterator[str]:
    """Create an empty database on the server of `admin_url`, yield its URL, and drop it whoever is still connected."""
    name = f"outspool_test_{secrets.token_hex(6)}"
    # A thread of its own, so that it makes no difference whether the caller's thread runs an event loop.
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, _execute(admin_url, f"CREATE DATABASE {name} TEMPLATE template0")).result()
        try:
            yield urlsplit(admin_url)._replace(path=f"/{name}").geturl()
        finally:
            thread.submit(asyncio.run, _execute(admin_url, f"DROP DATABASE {name} WITH (FORCE)")).result()
