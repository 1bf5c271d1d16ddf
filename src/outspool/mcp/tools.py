"""The handlers of the tools: each turns its arguments into a call of the `Outbox`, and the answer into a result."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from outspool.api.requests import (
    Arguments,
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
from outspool.api.results.listing import list_result
from outspool.api.results.preview import preview_result
from outspool.api.results.templates import templates_result
from outspool.api.results.text import (
    describe_batch,
    describe_email,
    describe_list,
    describe_preview,
    describe_status,
    describe_templates,
)
from outspool.api.validation_errors import read_arguments
from outspool.domain.email import Email
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import When
from outspool.domain.series import Series
from outspool.domain.status import WAITING
from outspool.errors import InvalidArgument
from outspool.mcp.strict_tool import Answer, Call
from outspool.message.notes import list_notes
from outspool.services.acceptance.listing import MOST_PER_PAGE
from outspool.services.acceptance.preparation import Submission, check_batch_size
from outspool.services.acceptance.repeats import GuardedCall
from outspool.services.acceptance.validation import EmailRequest

log = logging.getLogger(__name__)

_TIME = frozenset({"scheduled_at", "timezone", "delay"})
_RULE = frozenset({"recurrence", "until", "count"})
_LARGE = 64 * 1024
"""Longer HTML is looked at in a thread, so that other calls are served meanwhile."""
_NOT_IN_A_BATCH = dict.fromkeys(_TIME | _RULE, "schedule_email") | {"wait": "Give wait once, beside emails."}
_NOTHING_SENT = "Nothing was sent."
_CLEARED_BY_NONE = frozenset({"in_reply_to", "until", "count"})
_NOT_CONTENT = _TIME | {"email_id", "wait", "idempotency_key", "preview"}


class Tools:
    """The tool handlers; `call.outbox` is the caller's outbox."""

    async def send(self, arguments: SendArguments, call: Call) -> Answer:
        """Accept an email that is due now, and wait a while for its outcome."""
        if arguments.preview:
            return await self._preview(call, arguments)
        guarded = await _begin(call, "send_email", arguments)
        [email] = guarded.emails or [
            await call.outbox.accept(_build_request(arguments), idempotency_key=arguments.idempotency_key, call=guarded)
        ]
        email = await self._wait_for_outcome(call, email, arguments.wait)
        return await self._answer(call, email, notes=await _list_notes(email, guarded))

    async def schedule(self, arguments: ScheduleArguments, call: Call) -> Answer:
        """Accept an email that is due later."""
        if arguments.preview:
            return await self._preview(call, arguments, _read_when(arguments, _TIME | _RULE))
        guarded = await _begin(call, "schedule_email", arguments)
        [email] = guarded.emails or [
            await call.outbox.accept(
                _build_request(arguments),
                when=_read_when(arguments, _TIME | _RULE),
                idempotency_key=arguments.idempotency_key,
                call=guarded,
            )
        ]
        return await self._answer(call, email, scheduled_result, notes=await _list_notes(email, guarded))

    async def send_batch(self, arguments: BatchArguments, call: Call) -> Answer:
        """Accept all emails or none, and wait a while for their outcomes."""
        items = _validate_items(arguments)
        guarded = await _begin(call, "send_batch", arguments)
        emails = guarded.emails or await call.outbox.accept_all(
            [Submission(request=_build_request(item), idempotency_key=item.idempotency_key) for item in items],
            call=guarded,
        )
        emails = await self._wait_for_outcomes(call, emails, arguments.wait)
        result = batch_result(emails, now=call.outbox.now(), outlook=await call.outbox.outlook(*emails))
        result.notes = await _list_batch_notes(emails, guarded) or None
        return Answer(text=describe_batch(result), result=result)

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
        outlook = await call.outbox.outlook(preview.email)
        result = preview_result(preview, now=call.outbox.now(), outlook=outlook)
        result.notes = await _list_notes(preview.email) or None
        return Answer(text=describe_preview(result, outlook), result=result)

    async def templates(self, _arguments: NoArguments, call: Call) -> Answer:
        """List the templates."""
        result = templates_result(await call.outbox.list_templates())
        return Answer(text=describe_templates(result), result=result)

    async def status(self, arguments: EmailArguments, call: Call) -> Answer:
        """Show one email with its history."""
        email = await call.outbox.get(arguments.email_id)
        outlook = await call.outbox.outlook(email)
        result = status_result(email, now=call.outbox.now(), outlook=outlook)
        return Answer(text=describe_status(result, outlook), result=result)

    async def find(self, arguments: ListArguments, call: Call) -> Answer:
        """Show one page of emails."""
        listing = await call.outbox.find(**{k: v for k, v in provided_fields(arguments).items() if v is not None})
        outlook = await call.outbox.outlook(*listing.emails)
        result = list_result(
            listing.emails,
            next_cursor=listing.next_cursor,
            counts=listing.counts,
            now=call.outbox.now(),
            outlook=outlook,
        )
        return Answer(text=describe_list(result, outlook), result=result)

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
        email = await call.outbox.update(arguments.email_id, changes, when=when)
        answer = await self._answer(call, email, notes=await _list_notes(email))
        changed = ", ".join("from" if name == "sender" else name for name in provided if name not in cleared)
        parts = [f"Changed: {changed}." if changed else "", f"Cleared: {', '.join(cleared)}." if cleared else ""]
        return Answer(text=" ".join([*filter(None, parts), answer.text]), result=answer.result)

    async def cancel(self, arguments: EmailArguments, call: Call) -> Answer:
        """Cancel a waiting email."""
        email = await call.outbox.cancel(arguments.email_id)
        return await self._answer(call, email, notes=await _list_waiting(call, email))

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
        *,
        notes: Sequence[str] = (),
    ) -> Answer:
        result = show(email, now=call.outbox.now(), outlook=await call.outbox.outlook(email))
        result.notes = list(notes) or None
        return Answer(text=describe_email(result), result=result)


_REPEATED = (
    "The same call was made a moment ago and its client left before the answer; this is what it accepted then. "
    "Nothing was sent a second time."
)


async def _list_waiting(call: Call, email: Email) -> list[str]:
    """Name the emails that a canceled series has made and that still go out."""
    if not isinstance(email, Series):
        return []
    made = (await call.outbox.find(series=str(email.id), limit=MOST_PER_PAGE)).emails
    ids = [str(one.id) for one in made if one.status in WAITING]
    if not ids:
        return []
    return [f"It made emails that still go out: {', '.join(ids)}. cancel_email stops each of them, too."]


async def _list_notes(email: Email, guarded: GuardedCall | None = None) -> list[str]:
    """Return what the caller should know beside the result."""
    repeated = [_REPEATED] if guarded is not None and guarded.emails else []
    html = email.content.html
    if html is not None and len(html) > _LARGE:
        return repeated + await asyncio.to_thread(list_notes, email.content)
    return repeated + list_notes(email.content)


async def _list_batch_notes(emails: Sequence[Email], guarded: GuardedCall) -> list[str]:
    """Return each note once, with the number of emails that have it."""
    counts = Counter([note for email in emails for note in await _list_notes(email)])
    notes = [note if count == 1 else f"In {count} emails: {note}" for note, count in counts.items()]
    return ([_REPEATED] if guarded.emails else []) + notes


async def _begin(call: Call, tool: str, arguments: Arguments) -> GuardedCall:
    """Begin a call that accepts emails; how long it waits does not matter to whether it is the same."""

    def digest() -> bytes:
        fields = arguments.model_dump(mode="json", exclude={"wait"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps([tool, fields], sort_keys=True).encode("utf-8", "surrogatepass")).digest()

    guarded = await call.outbox.begin_call(digest)
    call.answer.when_lost(guarded.abandon)
    return guarded


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


def _build_request(arguments: MessageArguments) -> EmailRequest:
    """Return the request without null arguments."""
    fields = provided_fields(arguments, exclude=_NOT_CONTENT | _RULE)
    return EmailRequest(**{name: value for name, value in fields.items() if value is not None})


def _read_when(arguments: ScheduleArguments | UpdateArguments, names: frozenset[str]) -> When:
    return When(**{name: getattr(arguments, name) for name in names})
