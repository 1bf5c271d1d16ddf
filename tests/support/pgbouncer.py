"""A real pgbouncer in front of Postgres, if one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

_PATIENCE = 20.0


@contextmanager
def pgbouncer(folder: Path, url: str, *, mode: str, pool: int = 20) -> Iterator[str]:
    """Run one in `mode` with at most `pool` sessions, and yield the URL that leads through it; skip without one."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    parts = urlsplit(url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        "[databases]\n"
        f"* = host={parts.hostname} port={parts.port} user={parts.username} password={parts.password}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = {mode}\n"
        f"default_pool_size = {pool}\nmax_client_conn = 500\nunix_socket_dir =\n"
    )
    as_user = []
    if os.geteuid() == 0:  # it refuses to be root
        as_user = ["-u", "nobody"]
        for place in (folder, *folder.parents[:2]):
            place.chmod(place.stat().st_mode | 0o055)
        settings.chmod(0o644)
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([program, *as_user, str(settings)], stdout=log, stderr=log)
    try:
        _await(port, process, folder)
        yield parts._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _await(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            log = (folder / "pgbouncer.log").read_text()
            assert process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)
        else:
            return
