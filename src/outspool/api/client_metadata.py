"""Arguments that clients add to a call by themselves: the model cannot leave them out, so they are dropped.

Only these names, and only beside the arguments of a tool: every other unknown argument is refused, because an ignored
``bcc`` or ``schedule_at`` is a disaster.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

CLIENT_METADATA: Mapping[str, str] = MappingProxyType(
    {
        "toolCallId": "n8n",
        "tool": "n8n",
        "sessionId": "n8n",
        "action": "n8n",
        "chatInput": "n8n",
        "random_string": "Cursor",
        "task_progress": "Cline",
        "_meta": "clients that put the request's metadata among the arguments",
    }
)
"""Each name with the client that adds it."""


def drop_metadata(arguments: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return `arguments` without what clients add; a tool that has no arguments at all ignores everything."""
    if not known:
        return {}
    return {name: value for name, value in arguments.items() if name in known or name not in CLIENT_METADATA}
