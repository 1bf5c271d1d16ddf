"""Loads the tools with pydantic-ai, and lets a scripted model call one.

Arguments: the server's URL, and the arguments of `send_email` in JSON. Prints a report in JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel


async def _report(url: str, message: str) -> dict[str, object]:
    seen: dict[str, object] = {}

    def play(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        """Call the tool once, then end with what it answered."""
        seen["tools"] = [tool.name for tool in info.function_tools]
        returned = [part for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        if returned:
            return ModelResponse(parts=[TextPart(returned[0].model_response_str())])
        return ModelResponse(parts=[ToolCallPart("send_email", message)])

    agent = Agent(FunctionModel(play), toolsets=[MCPToolset(url)])
    async with agent:
        result = await agent.run("Send it.")
    return {**seen, "answer": result.output}


print(json.dumps(asyncio.run(_report(*sys.argv[1:]))))
