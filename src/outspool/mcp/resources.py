"""MCP resources and completions: emails, their messages, and templates."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import BaseModel

from outspool.api.errors import name_variables_in_result
from outspool.api.results.email import status_result
from outspool.api.results.templates import TemplateResult, template_result
from outspool.errors import InvalidArgument, NotFound, OutspoolError, TemplateError
from outspool.mcp.sdk import client_of
from outspool.mcp.strict_tool import Describe, OutboxFor

log = logging.getLogger(__name__)

EMAIL_URI = "email://{email_id}"
RAW_URI = "email://{email_id}/raw"
TEMPLATE_URI = "template://{name}"

_MOST_COMPLETED = 100
"""The protocol's limit; also the number of newest emails searched."""


class TemplateFilesResult(TemplateResult):
    """A template with its files' texts by file name."""

    files: dict[str, str]


class ResourceReader:
    """Reads resources in the calling client's scope, and completes their names. Raises `ResourceError`."""

    def __init__(self, outbox_for: OutboxFor, describe: Describe, *, names_variables: bool = False) -> None:
        """`outbox_for` returns the outbox of a client; `describe` words errors, `names_variables` results."""
        self._outbox_for = outbox_for
        self._describe = describe
        self._names_variables = names_variables

    async def email(self, email_id: str, context: Context[Any, Any]) -> str:
        """Return the result of `get_status`, as JSON."""

        async def read() -> str:
            outbox = self._outbox_for(*client_of(context.session))
            email = await outbox.get(email_id)
            result = status_result(email, now=outbox.now(), outlook=await outbox.outlook(email))
            return _json(result, names_variables=self._names_variables)

        return await self._translate_errors(read)

    async def raw(self, email_id: str, context: Context[Any, Any]) -> str:
        """Return the message, which is all ASCII."""

        async def read() -> str:
            return (await self._outbox_for(*client_of(context.session)).raw(email_id)).decode("ascii")

        return await self._translate_errors(read)

    async def template(self, name: str, context: Context[Any, Any]) -> str:
        """Return one template of `list_templates` with its files, as JSON."""

        async def read() -> str:
            card, files = await self._outbox_for(*client_of(context.session)).show_template(name)
            return _json(TemplateFilesResult(**dict(template_result(card)), files=dict(files)))

        return await self._translate_errors(read)

    async def complete(
        self,
        reference: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        _context: CompletionContext | None,
    ) -> Completion | None:
        """Return email ids, newest first, or template names that begin with the given text."""
        outbox = self._outbox_for("", "")  # the SDK does not provide the client
        is_of_resource = isinstance(reference, ResourceTemplateReference)
        try:
            if is_of_resource and argument.name == "email_id":
                listing = await outbox.find(limit=_MOST_COMPLETED)
                return _completion([str(email.id) for email in listing.emails], argument.value)
            if argument.name == ("name" if is_of_resource else "template"):
                return _completion([card.name for card in await outbox.list_templates()], argument.value)
        except OutspoolError as error:
            log.warning("cannot complete: %s", error)
        return None

    async def _translate_errors(self, read: Callable[[], Awaitable[str]]) -> str:
        """Read, and word a failure as a tool does."""
        try:
            return await read()
        except (NotFound, InvalidArgument, TemplateError) as error:
            raise ResourceNotFoundError(self._describe(error)) from None
        except OutspoolError as error:
            raise ResourceError(self._describe(error)) from None


def add_resources(
    server: MCPServer[object], outbox_for: OutboxFor, describe: Describe, *, names_variables: bool = False
) -> None:
    """Add emails and templates to `server`."""
    reader = ResourceReader(outbox_for, describe, names_variables=names_variables)
    server.resource(
        EMAIL_URI,
        name="email",
        title="Email",
        description="One email as get_status shows it. Subscribe to it to be told when it changes.",
        mime_type="application/json",
    )(reader.email)
    server.resource(
        RAW_URI,
        name="raw_email",
        title="Raw email",
        description="The very message that goes, or went, on the wire (RFC 5322).",
        mime_type="message/rfc822",
    )(reader.raw)
    server.resource(
        TEMPLATE_URI,
        name="template",
        title="Template",
        description="One template: what it needs, its defaults, and its files.",
        mime_type="application/json",
    )(reader.template)
    server.completion()(reader.complete)  # type: ignore[no-untyped-call]


def _json(result: BaseModel, *, names_variables: bool = False) -> str:
    content = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(name_variables_in_result(content) if names_variables else content, ensure_ascii=False, indent=1)


def _completion(candidates: Sequence[str], prefix: str) -> Completion:
    values = [value for value in candidates if value.startswith(prefix.strip().lower())]
    return Completion(values=values[:_MOST_COMPLETED], total=len(values), has_more=len(candidates) >= _MOST_COMPLETED)
