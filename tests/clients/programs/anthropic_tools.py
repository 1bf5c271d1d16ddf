"""Loads the tools with the helpers of Anthropic's SDK, and calls one.

Arguments: the server's URL, and the arguments of `send_email` in JSON. Prints a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from anthropic.lib.tools.mcp import async_mcp_tool
from mcp.client import Client


async def _report(url: str, message: str) -> dict[str, object]:
    async with Client(url) as client:
        listed = await client.list_tools()
        tools = {tool.name: async_mcp_tool(tool, client.session) for tool in listed.tools}
        shown = {name: tool.to_dict() for name, tool in tools.items()}  # what a model is shown
        answer = await tools["send_email"].call(json.loads(message))
    return {"tools": list(shown), "answer": json.dumps(answer, default=str)}


print(json.dumps(asyncio.run(_report(*sys.argv[1:]))))
