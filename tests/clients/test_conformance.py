"""The MCP conformance suite passes, but for what needs tools and prompts made for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.foreign_clients import InstallNode
from support.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SUITE = "@modelcontextprotocol/conformance@0.1.16"
BASELINE = Path(__file__).with_name("conformance-baseline.yml")


def test_the_conformance_suite_fails_where_its_own_tools_are_needed_alone(
    install_node: InstallNode, node_environment: dict[str, str], served: Stage, tmp_path: Path
) -> None:
    command = [str(install_node(SUITE, "conformance")), "server", "--url", f"{served.url}/mcp"]
    done = subprocess.run(
        [*command, "--expected-failures", str(BASELINE)],
        env=node_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "✓ completion-complete" in done.stdout
    assert "✓ tools-list" in done.stdout
