"""Names that the tests with other people's MCP clients share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

InstallPython = Callable[[str], Path]
"""From requirements, with spaces between them, to the Python of an environment that has them; skips if it cannot."""

InstallNode = Callable[[str, str], Path]
"""From an npm package and a command of it to the command's path; skips the test if it cannot be installed."""

TOOLS = frozenset(
    {
        *("send_email", "schedule_email", "get_status", "list_emails", "update_email"),
        *("cancel_email", "retry_email", "send_batch", "list_templates"),
    }
)
"""The tools that every client must load; there may be more."""
