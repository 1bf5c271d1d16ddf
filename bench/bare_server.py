"""The least an MCP server can be: one tool, which does nothing."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")


@server.tool()
def nothing() -> str:
    """Do nothing."""
    return "done"


if __name__ == "__main__":
    server.run()
