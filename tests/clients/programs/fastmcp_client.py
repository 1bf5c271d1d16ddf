"""Loads the tools with FastMCP's client, and calls one.

Arguments: the server's URL, and the arguments of `send_email` in JSON. Prints a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from fastmcp import Client


async def _report(url: str, message: str) -> dict[str, object]:
    async with Client(url) as client:
        tools = await client.list_tools()
        answer = await client.call_tool("send_email", json.loads(message))
    return {"tools": [tool.name for tool in tools], "answer": json.dumps(answer.structured_content)}


print(json.dumps(asyncio.run(_report(*sys.argv[1:]))))
