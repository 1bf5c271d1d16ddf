"""Loads the tools with openai-agents, plain and strict, and calls one as the framework does for a model.

Arguments: the server's URL, and the arguments of `send_email` in JSON. Prints a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from agents import Agent, FunctionTool, RunContextWrapper
from agents.mcp import MCPServerStreamableHttp, MCPUtil
from agents.tool_context import ToolContext


async def _report(url: str, message: str) -> dict[str, object]:
    async with MCPServerStreamableHttp({"url": url}) as server:
        agent = Agent(name="tester", mcp_servers=[server])
        context: RunContextWrapper[None] = RunContextWrapper(context=None)
        plain, strict = [
            await MCPUtil.get_function_tools(server, is_strict, context, agent) for is_strict in (False, True)
        ]
        send = next(tool for tool in plain if tool.name == "send_email")
        assert isinstance(send, FunctionTool)
        call = ToolContext(context=None, tool_name=send.name, tool_call_id="call_1", tool_arguments=message)
        answer = await send.on_invoke_tool(call, message)
    return {
        "tools": [tool.name for tool in plain],
        "strict": {
            tool.name: tool.params_json_schema
            for tool in strict
            if isinstance(tool, FunctionTool) and tool.strict_json_schema
        },
        "answer": json.dumps(answer, default=str),
    }


print(json.dumps(asyncio.run(_report(*sys.argv[1:]))))
