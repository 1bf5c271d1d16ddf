"""The `compose_email` prompt: the model drafts an email, shows it, and sends it once it is approved."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field


def add_prompts(server: MCPServer[object]) -> None:
    """Add `compose_email` to `server`."""
    server.prompt(
        name="compose_email",
        title="Compose an email",
        description="Write an email, show it, and send or schedule it once it is approved.",
    )(compose_email)


def compose_email(
    about: Annotated[str, Field(description="What it should say.")],
    to: Annotated[str, Field(description="Whom it is for.")] = "",
    when: Annotated[str, Field(description="When it should go out; now if empty.")] = "",
    template: Annotated[str, Field(description="A name from list_templates.")] = "",
) -> str:
    """Return the request as a person would write it, with the steps that keep a mistake from going out."""
    tool = "schedule_email" if when else "send_email"
    wishes = [
        f"Write an email about: {about}",
        f"To: {to}" if to else "Ask me whom it is for, unless it is clear; never guess an address.",
        *([f"When: {when}"] if when else []),
        *([f"Use the template {template}; list_templates says what it needs."] if template else []),
    ]
    steps = [
        "Write a subject that says what it is about, and a short text in the language and tone of its reader.",
        f"Call {tool} with preview=true, and show me the recipients, the subject and the text.",
        "Change what I want changed, and show it again.",
        f"Only when I agree, call {tool} without preview, with an idempotency_key of your choice.",
        "Tell me what became of it, in the words of the summary.",
    ]
    return "\n".join([*wishes, "", *(f"{number}. {step}" for number, step in enumerate(steps, 1))])
