"""The handlers of the tools: each turns its arguments into a call of the `Outbox`, and the answer into a result."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outspool.api.requests import (
    BatchArguments,
    EmailArguments,
    ListArguments,
    MessageArguments,
    NoArguments,
    ScheduleArguments,
    SendArguments,
    UpdateArguments,
    provided_fields,
)
from outspool.api.results.batch import batch_result
from outspool.api.results.email import EmailResult, email_result, scheduled_result, status_result
from outspool.api.results.listing import format_counts, list_result
from outspool.api.results.preview import preview_result
from outspool.api.results.templates import TemplateResult, templates_result
from outspool.api.validation_errors import read_arguments
from outspool.domain.email import Email
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import When
from outspool.errors import InvalidArgument, brief
from outspool.mcp.strict_tool import Answer, Call
from outspool.services.acceptance.preparation import Submission, check_batch_size
from outspool.services.acceptance.validation import EmailRequest

log = logging.getLogger(__name__)

_TIME = frozenset({"scheduled_at", "timezone", "delay"})
_RULE = frozenset({"recurrence", "until", "count"})
_NOT_IN_A_BATCH = dict.fromkeys(_TIME | _RULE, "schedule_email") | {"wait": "Give wait once, beside emails."}
_NOTHING_SENT = "Nothing was sent."
_SHOWN = 20
_CLEARED_BY_NONE = frozenset({"in_reply_to", "until", "count"})
_NOT_CONTENT = _TIME | {"email_id", "wait", "idempotency_key", "preview"}


class Tools:
    """The tool handlers; `call.outbox` is the caller's outbox."""

    async def send(self, arguments: SendArguments, call: Call) -> Answer:
        """Accept an email that is due now, and wait a while for its outcome."""
        if arguments.preview:
            return await self._preview(call, arguments)
        email = await call.outbox.accept(_build_request(arguments), idempotency_key=arguments.idempotency_key)
        return await self._answer(call, await self._wait_for_outcome(call, email, arguments.wait))

    async def schedule(self, arguments: ScheduleArguments, call: Call) -> Answer:
        """Accept an email that is due later."""
        if arguments.preview:
            return await self._preview(call, arguments, _read_when(arguments, _TIME | _RULE))
        email = await call.outbox.accept(
            _build_request(arguments),
            when=_read_when(arguments, _TIME | _RULE),
            idempotency_key=arguments.idempotency_key,
        )
        return await self._answer(call, email, scheduled_result)

    async def send_batch(self, arguments: BatchArguments, call: Call) -> Answer:
        """Accept all emails or none, and wait a while for their outcomes."""
        items = _validate_items(arguments)
        emails = await call.outbox.accept_all(
            [Submission(request=_build_request(item), idempotency_key=item.idempotency_key) for item in items]
        )
        emails = await self._wait_for_outcomes(call, emails, arguments.wait)
        result = batch_result(emails, now=call.outbox.now(), pause=await call.outbox.pause())
        has_trouble = [f"emails[{n}] {e.id} {e.status}: {e.summary}" for n, e in enumerate(result.emails) if e.summary]
        return Answer(text="\n".join([result.summary, *has_trouble[:_SHOWN], *_count_rest(has_trouble)]), result=result)

    async def _wait_for_outcomes(self, call: Call, emails: Sequence[Email], max_wait: float) -> Sequence[Email]:
        async def report_progress(done: int) -> None:
            with contextlib.suppress(Exception):  # a lost client must not turn an accepted email into an error
                await call.report(done, len(emails))

        try:
            return await call.outbox.wait_for_outcomes(emails, max_wait=max_wait, on_settled=report_progress)
        except Exception:
            log.exception("lost sight of a batch after accepting it")
            return emails

    async def _preview(self, call: Call, arguments: MessageArguments, when: When | None = None) -> Answer:
        preview = await call.outbox.preview(_build_request(arguments), when=when)
        result = preview_result(preview, now=call.outbox.now())
        to = ", ".join([*result.to, *(result.cc or ()), *(result.bcc or ())])
        return Answer(text=f"{result.summary}\nTo: {to}\nSubject: {result.subject}\n\n{result.text}", result=result)

    async def templates(self, _arguments: NoArguments, call: Call) -> Answer:
        """List the templates."""
        result = templates_result(await call.outbox.list_templates())
        return Answer(
            text="\n".join(map(_describe_template, result.templates)) or "There are no templates.", result=result
        )

    async def status(self, arguments: EmailArguments, call: Call) -> Answer:
        """Show one email with its history."""
        return await self._answer(call, await call.outbox.get(arguments.email_id), status_result)

    async def find(self, arguments: ListArguments, call: Call) -> Answer:
        """Show one page of emails."""
        listing = await call.outbox.find(**{k: v for k, v in provided_fields(arguments).items() if v is not None})
        pause = await call.outbox.pause()
        result = list_result(
            listing.emails,
            next_cursor=listing.next_cursor,
            counts=listing.counts,
            now=call.outbox.now(),
            pause=pause,
        )
        lines = [f"{e.id} {e.status}, {brief(e.subject)} to {', '.join(e.to[:3])}: {e.summary}" for e in result.emails]
        counts = format_counts(result.counts) or "none"
        more = f" More follow: cursor {result.next_cursor}." if result.next_cursor else ""
        head = f"{len(lines)} shown, newest first. In the whole outbox: {counts}.{more}"
        return Answer(text="\n".join([head, *lines]), result=result)

    async def update(self, arguments: UpdateArguments, call: Call) -> Answer:
        """Change a waiting email."""
        provided = provided_fields(arguments, exclude=frozenset({"email_id"}))
        cleared = [name for name, value in provided.items() if _clears(name, value)]
        changes = {
            name: None if name in cleared and name in _CLEARED_BY_NONE else value
            for name, value in provided.items()
            if name not in _NOT_CONTENT
        }
        when = None if (time := _read_when(arguments, _TIME)) == When() else time
        answer = await self._answer(call, await call.outbox.update(arguments.email_id, changes, when=when))
        changed = ", ".join("from" if name == "sender" else name for name in provided if name not in cleared)
        parts = [f"Changed: {changed}." if changed else "", f"Cleared: {', '.join(cleared)}." if cleared else ""]
        return Answer(text=" ".join([*filter(None, parts), answer.text]), result=answer.result)

    async def cancel(self, arguments: EmailArguments, call: Call) -> Answer:
        """Cancel a waiting email."""
        return await self._answer(call, await call.outbox.cancel(arguments.email_id))

    async def retry(self, arguments: EmailArguments, call: Call) -> Answer:
        """Send an email again to the recipients who lack it."""
        return await self._answer(call, await call.outbox.retry(arguments.email_id))

    async def _wait_for_outcome(self, call: Call, email: Email, max_wait: float) -> Email:
        """Wait for the outcome; failures are ignored, because the email is accepted already."""
        try:
            return await call.outbox.wait_for_outcome(email, max_wait=max_wait)
        except Exception:
            log.exception("lost sight of %s after accepting it", email.id)
            return email

    async def _answer(
        self,
        call: Call,
        email: Email,
        show: Callable[..., EmailResult] = email_result,
    ) -> Answer:
        pause = await call.outbox.pause(email)
        result = show(email, now=call.outbox.now(), pause=pause)
        return Answer(text=f"{result.summary} Email id: {result.id}", result=result)


def _validate_items(arguments: BatchArguments) -> list[MessageArguments]:
    """Return a batch's emails merged with the shared arguments; own ones win, and variables are merged."""
    check_batch_size(len(arguments.emails))
    shared = arguments.shared or {}
    if "idempotency_key" in shared and len(arguments.emails) > 1:
        raise InvalidArgument(
            "shared: an idempotency_key stands for one email alone.", f"Give each email one of its own. {_NOTHING_SENT}"
        )
    faults, items = RefusalCollector(), []
    for place, email in enumerate(arguments.emails):
        with faults.collect(f"emails[{place}]: "):
            items.append(_validate_item(_merge(shared, email)))
        if faults.is_full:
            break
    faults.raise_any()
    return items


def _merge(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**shared, **own}
    variables = [values for one in (shared, own) if isinstance(values := one.get("variables"), Mapping)]
    return joined | {"variables": {**variables[0], **variables[1]}} if len(variables) > 1 else joined


def _validate_item(fields: dict[str, Any]) -> MessageArguments:
    item = read_arguments(MessageArguments, fields, untouched=_NOTHING_SENT, elsewhere=_NOT_IN_A_BATCH)
    if item.preview:
        raise InvalidArgument("preview is of one email alone.", f"Use send_email with preview. {_NOTHING_SENT}")
    return item


def _clears(name: str, value: object) -> bool:
    """Tell whether `update_email` empties a field. An empty subject is a subject, and only `count` is cleared by 0."""
    return (value in ("", [], {}) and name != "subject") or (name == "count" and value == 0)


def _count_rest(lines: Sequence[str]) -> tuple[str, ...]:
    return (f"and {len(lines) - _SHOWN} more",) if len(lines) > _SHOWN else ()


def _describe_template(template: TemplateResult) -> str:
    if template.error is not None:
        return f"{template.name} cannot be used: {template.error}"
    needs = f"needs {', '.join(template.required)}" if template.required else "needs nothing"
    knows = f"; may be given {', '.join(template.defaults)}" if template.defaults else ""
    return f"{template.name} {needs}{knows}. {template.description or ''}".rstrip()


def _build_request(arguments: MessageArguments) -> EmailRequest:
    """Return the request without null arguments."""
    fields = provided_fields(arguments, exclude=_NOT_CONTENT | _RULE)
    return EmailRequest(**{name: value for name, value in fields.items() if value is not None})


def _read_when(arguments: ScheduleArguments | UpdateArguments, names: frozenset[str]) -> When:
    return When(**{name: getattr(arguments, name) for name in names})
