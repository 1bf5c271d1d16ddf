"""Frameworks for agents load every tool of the real program, and send through it; no model is needed for either."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.foreign_clients import TOOLS, InstallPython
from support.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PROGRAMS = Path(__file__).parent / "programs"
CLIENTS = {
    "openai_agents": "openai-agents==0.24.0",
    "pydantic_ai_agent": "pydantic-ai-slim[mcp]==2.68.0",
    "langchain_adapters": "langchain-mcp-adapters==0.3.2",
    "google_genai_tools": "google-genai==3.6.1 mcp==2.3.0",
    "anthropic_tools": "anthropic[mcp]==2.14.0 mcp==2.3.0",
    "fastmcp_client": "fastmcp==4.2.3",
}


def run(install: InstallPython, program: str, stage: Stage) -> dict[str, Any]:
    """Run one client's program against the stage, and return its report."""
    python = install(CLIENTS[program])
    message = json.dumps(stage.message(wait=30))
    command = [str(python), str(PROGRAMS / f"{program}.py"), f"{stage.url}/mcp", message]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


@pytest.mark.parametrize("program", CLIENTS)
def test_a_framework_loads_every_tool_and_sends(install_python: InstallPython, served: Stage, program: str) -> None:
    stage = served.reached_by("streamable-http", "auto")
    report = run(install_python, program, stage)
    assert set(report["tools"]) >= TOOLS
    assert "Sent: the next mail server took it" in report["answer"]
    assert len(stage.received()) == 1


def test_strict_schemas_of_openai_close_no_open_object_and_require_no_string(
    install_python: InstallPython, served: Stage
) -> None:
    strict = run(install_python, "openai_agents", served.reached_by("streamable-http", "auto"))["strict"]
    assert not {"send_email", "schedule_email", "update_email", "send_batch"} & strict.keys()
    for schema in strict.values():
        for name, argument in schema["properties"].items():
            assert name == "email_id" or {"type": "null"} in argument["anyOf"]


def test_gemini_is_shown_each_argument_of_each_tool(install_python: InstallPython, served: Stage) -> None:
    report = run(install_python, "google_genai_tools", served.reached_by("streamable-http", "auto"))
    shown = report["arguments"]
    assert {"to", "subject", "headers", "variables", "attachments"} <= set(shown["send_email"])
    assert {"status", "limit", "cursor"} <= set(shown["list_emails"])
    assert {"emails", "shared"} <= set(shown["send_batch"])
