"""Loads the tools with LangChain's adapters, and calls one.

Arguments: the server's URL, and the arguments of `send_email` in JSON. Prints a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient


async def _report(url: str, message: str) -> dict[str, object]:
    client = MultiServerMCPClient({"outspool": {"transport": "streamable_http", "url": url}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    for tool in tools.values():
        convert_to_openai_tool(tool)  # what a model is shown
    answer = await tools["send_email"].ainvoke(json.loads(message))
    return {"tools": list(tools), "answer": json.dumps(answer, default=str)}


print(json.dumps(asyncio.run(_report(*sys.argv[1:]))))
