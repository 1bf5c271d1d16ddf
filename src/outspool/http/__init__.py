"""The HTTP face: the ASGI app around the MCP server. Translates, never decides."""
