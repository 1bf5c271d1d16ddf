"""Loads the tools with google-genai, and calls one by the session that it uses.

Arguments: the server's URL, and the arguments of `send_email` in JSON. Prints a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from google.genai._mcp_utils import mcp_to_gemini_tools
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


async def _report(url: str, message: str) -> dict[str, object]:
    async with streamable_http_client(url) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        listed = (await session.list_tools()).tools
        declared = [tool.function_declarations[0] for tool in mcp_to_gemini_tools(listed)]
        answer = await session.call_tool("send_email", json.loads(message))
    return {
        "tools": [declaration.name for declaration in declared],
        "arguments": {d.name: sorted((d.parameters and d.parameters.properties) or {}) for d in declared},
        "answer": answer.model_dump_json(),
    }


print(json.dumps(asyncio.run(_report(*sys.argv[1:]))))
