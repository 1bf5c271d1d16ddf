"""The least an MCP server can be: a tool that does nothing, and one that does no more than reach the disk."""

from __future__ import annotations

import os
import sys
import tempfile

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare", log_level="WARNING")
journal = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as the server


@server.tool()
async def nothing() -> str:
    """Do nothing."""
    return "done"


@server.tool()
async def append() -> str:
    """Append 4 KB to a file and wait for the disk: what a durable commit costs at the least."""
    journal.write(bytes(4096))
    os.fsync(journal.fileno())
    return "done"


if __name__ == "__main__":
    if "--port" in sys.argv:
        server.run("streamable-http", port=int(sys.argv[-1]))
    else:
        server.run()
