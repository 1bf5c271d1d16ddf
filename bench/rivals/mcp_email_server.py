"""mcp-email-server (PyPI), the most used MCP server that sends email: it delivers inside the tool call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.ground import EMAIL, Ground
from bench.rivals.environment import environment

_REQUIREMENT = "mcp-email-server==1.13.*"


class McpEmailServer:
    """The server, over stdio, with an account on the sink; it keeps no copy of what it sends."""

    name = "mcp-email-server 1.13"
    harmless_tool = "list_available_accounts"
    sending_tool = "send_email"
    email: Mapping[str, Any] = MappingProxyType(
        {"account_name": "default", "recipients": EMAIL["to"], "subject": EMAIL["subject"], "body": EMAIL["body"]}
    )

    def __init__(self, ground: Ground) -> None:
        """Install nothing yet."""
        self._ground = ground
        self._folder = ground.new_folder()

    async def ready(self) -> tuple[tuple[str, ...], dict[str, str], Path]:
        """Return its command, its environment and its folder. Raises `AbsentError` when it cannot be installed."""
        programs = await environment(self._ground, "mcp-email-server", _REQUIREMENT)
        ours = {
            "EMAIL_ADDRESS": "me@example.com",
            "PASSWORD": "secret",
            "IMAP_HOST": "127.0.0.1",
            "SMTP_HOST": self._ground.sink.host,
            "SMTP_PORT": str(self._ground.sink.port),
            "SMTP_SSL": "false",
            "SMTP_START_SSL": "false",
            "SAVE_TO_SENT": "false",
            "ALLOWED_RECIPIENTS": ",".join(EMAIL["to"]),
            "CONFIG_PATH": str(self._folder / "config.toml"),
        }
        variables = {f"MCP_EMAIL_SERVER_{name}": value for name, value in ours.items()}
        variables |= {"PATH": os.environ["PATH"], "HOME": str(self._folder)}
        return (str(programs / "mcp-email-server"), "stdio"), variables, self._folder
