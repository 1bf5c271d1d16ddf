"""The `compose_email` prompt: the model drafts an email, shows it, and sends it once it is approved."""

from __future__ import annotations

from inspect import signature
from typing import Annotated, Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import Field

from outspool.errors import brief

_NAME = "compose_email"


def add_prompts(server: MCPServer[object]) -> None:
    """Add `compose_email` to `server`."""
    server.prompt(
        name=_NAME,
        title="Compose an email",
        description="Write an email, show it, and send or schedule it once it is approved.",
    )(compose_email)


async def check_prompt(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Middleware: refuse a ``prompts/get`` that the SDK would answer with an internal error."""
    if ctx.method == "prompts/get":
        params = ctx.params or {}
        problem = _find_problem(params.get("name"), params.get("arguments") or {})
        if problem:
            raise MCPError(code=INVALID_PARAMS, message=problem)
    return await call_next(ctx)


def _find_problem(name: object, arguments: object) -> str:
    """Return what is wrong with a request for a prompt; empty if nothing is."""
    if name != _NAME:
        return f"There is no prompt {brief(str(name))}. The only one is {_NAME}."
    known = list(signature(compose_email).parameters)
    if not isinstance(arguments, dict) or not arguments.get("about"):
        return f"{_NAME} needs the argument about: what the email should say."
    if unknown := [argument for argument in arguments if argument not in known]:
        return f"{_NAME} has no argument {brief(str(unknown[0]))}. It takes {', '.join(known)}."
    if wrong := [argument for argument, value in arguments.items() if not isinstance(value, str)]:
        return f"The argument {wrong[0]} of {_NAME} must be a text."
    return ""


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
