"""The MCP face: translates tool calls to an `Outbox`, and decides nothing itself."""
