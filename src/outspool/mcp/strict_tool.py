"""A tool that rejects unknown arguments and words its own errors.

The SDK's own tool ignores unknown arguments, coerces types, and puts ``Error executing tool X:`` before every error.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from outspool.api.answers import PendingAnswer
from outspool.api.errors import name_variables, name_variables_in_result
from outspool.api.requests import Arguments
from outspool.api.rpc_envelope import REFUSED
from outspool.api.schema import input_schema, output_schema
from outspool.api.validation_errors import read_call
from outspool.domain.json_limits import check_values, too_much
from outspool.errors import OutspoolError, Refusal
from outspool.mcp.answer_watch import AnswerWatch
from outspool.mcp.sdk import Tool, client_of_call, make_metadata
from outspool.services.acceptance.outbox import Outbox

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

log = logging.getLogger(__name__)

Progress = Callable[[float, float], Awaitable[None]]
"""Reports (done, total) to a client that asked for progress."""

OutboxFor = Callable[[str, str], Outbox]
"""Returns the outbox of a client, by the client's name and version."""

Describe = Callable[[OutspoolError], str]
"""Words an error for the face's readers, in one line: ``code: what is wrong. What to do.``"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool: the caller's `outbox`, `report` for progress, and the `answer` that the client waits for."""

    outbox: Outbox
    report: Progress
    answer: PendingAnswer


CRASHED = (
    "internal_error: outspool failed unexpectedly, and whether the call took effect is not known. "
    "Look at list_emails or get_status before trying again."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A tool's answer: `text` for the model, and the `result` of its output schema."""

    text: str
    result: BaseModel


class StrictTool(Tool):
    """A tool whose `fn` takes an instance of `arguments_model` and the `Call`, and returns an `Answer`.

    `untouched` ends every refusal of arguments, e.g. "Nothing was sent."; `elsewhere` maps arguments that callers
    expect here to the tool that takes them, or to a sentence. `describe` words errors; `names_variables`: so do
    results, for readers who set environment variables.
    """

    arguments_model: type[Arguments] = Field(exclude=True)
    outbox_for: Callable[..., Any] = Field(exclude=True)
    describe: Describe = Field(default=str, exclude=True)
    answers: Any = Field(default_factory=AnswerWatch, exclude=True)
    names_variables: bool = Field(default=False, exclude=True)
    untouched: str = ""
    elsewhere: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def build(
        cls,
        fn: Callable[..., Awaitable[Answer]],
        *,
        name: str,
        description: str,
        title: str,
        outbox_for: OutboxFor,
        arguments: type[Arguments],
        explained: type[Arguments] | None = None,
        result: type[BaseModel],
        annotations: ToolAnnotations,
        untouched: str = "",
        elsewhere: Mapping[str, str] | None = None,
    ) -> Self:
        """Make a tool from a handler and the models of its arguments and result.

        `result` is the declared part of the result, which may have more fields. Arguments that `explained` also has are
        described by another tool.
        """
        return cls(
            fn=fn,
            name=name,
            title=title,
            description=description,
            parameters=input_schema(arguments, explained=explained),
            fn_metadata=make_metadata(output_schema(result)),
            is_async=True,
            annotations=annotations,
            arguments_model=arguments,
            outbox_for=outbox_for,
            untouched=untouched,
            elsewhere=elsewhere or {},
        )

    async def run(
        self,
        arguments: dict[str, Any],
        context: Context[Any, Any],
        convert_result: bool = False,  # noqa: FBT001, FBT002
    ) -> CallToolResult:
        """Handle one call; a failure becomes ``code: what is wrong. What to do.`` with `isError`.

        Errors are text only: structured content must match the output schema, and an error does not.
        """
        try:
            parsed = self._validate(arguments)
            outbox = self.outbox_for(*client_of_call(context))
            with self.answers.follow(context) as pending:
                answer = await self.fn(parsed, Call(outbox, context.report_progress, pending))
        except OutspoolError as error:
            level = logging.INFO if isinstance(error, Refusal) else logging.WARNING
            log.log(level, "%s: %s", self.name, error)
            return _error_result(self.describe(error))
        except Exception:
            log.exception("%s failed unexpectedly", self.name)
            return _error_result(CRASHED)
        text, content = answer.text, answer.result.model_dump(mode="json", by_alias=True, exclude_none=True)
        if self.names_variables:
            text, content = name_variables(text), name_variables_in_result(content)
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)

    def _validate(self, arguments: dict[str, Any]) -> BaseModel:
        if REFUSED in arguments:
            raise too_much()
        check_values(arguments)
        return read_call(self.arguments_model, arguments, untouched=self.untouched, elsewhere=self.elsewhere)


def _error_result(sentence: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)
