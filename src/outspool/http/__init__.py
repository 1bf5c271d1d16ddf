"""The HTTP face: the ASGI app around the MCP server. It translates, and decides nothing itself."""
