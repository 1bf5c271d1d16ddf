"""Clients from npm: mcp-remote carries stdio to the served outspool, and Claude Code connects to each kind of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent
from support.foreign_clients import TOOLS, InstallNode
from support.stage import OUTSPOOL, Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MCP_REMOTE = "mcp-remote@0.15.1"
CLAUDE_CODE = "@anthropic-ai/claude-code@2.1.332"
INSTALLER = Path("node_modules/@anthropic-ai/claude-code/install.cjs")


async def test_mcp_remote_carries_the_tools_and_a_send(
    install_node: InstallNode, node_environment: dict[str, str], served: Stage
) -> None:
    stage = served.reached_by("streamable-http", "auto")
    command = str(install_node(MCP_REMOTE, "mcp-remote"))
    bridge = StdioServerParameters(
        command=command, args=[f"{stage.url}/mcp", "--allow-http", "--transport", "http-only"], env=node_environment
    )
    with (stage.folder / "mcp-remote.log").open("w") as log:
        async with Client(stdio_client(bridge, errlog=log), mode="legacy") as client:
            assert {tool.name for tool in (await client.list_tools()).tools} >= TOOLS
            answer = await client.call_tool("send_email", stage.message(wait=30))
    assert isinstance(answer.content[0], TextContent)
    assert answer.content[0].text.startswith("Sent: ")
    assert len(stage.received()) == 1


@pytest.fixture(scope="session")
def claude(install_node: InstallNode, node_environment: dict[str, str]) -> Path:
    """Return Claude Code; its package puts the program of this platform in its place when it is asked to."""
    command = install_node(CLAUDE_CODE, "claude")
    installer = command.parents[2] / INSTALLER
    subprocess.run(["node", str(installer)], env=node_environment, capture_output=True, timeout=120, check=False)
    version = subprocess.run(
        [str(command), "--version"], env=node_environment, capture_output=True, text=True, timeout=120, check=False
    )
    if version.returncode:
        pytest.skip(f"{CLAUDE_CODE} does not run here: {version.stderr.strip()[-300:]}")
    return command


@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
def test_claude_code_connects(
    claude: Path, node_environment: dict[str, str], served: Stage, tmp_path: Path, transport: str
) -> None:
    environment = {**node_environment, "HOME": str(tmp_path), "MCP_TIMEOUT": "60000"}
    variables = [part for name, value in served.environment.items() for part in ("--env", f"{name}={value}")]
    target = {
        "stdio": [*variables, "--", *OUTSPOOL],
        "http": [f"{served.url}/mcp"],
        "sse": [f"{served.url}/sse"],
    }[transport]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(claude), "mcp", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("add", "--scope", "user", "--transport", transport, "outspool", *target)
    listed = run("list")
    assert "Connected" in listed, listed
