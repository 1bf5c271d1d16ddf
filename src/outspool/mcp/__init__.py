"""The MCP face: tools over one `Outbox`. Translates, never decides."""
