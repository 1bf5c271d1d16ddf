"""What each tool does: arguments → one call of the `Outbox` → result. No decision is made here."""

from __future__ import annotations

import logging
from collections.abc import Callable

from outspool.domain.email import Email
from outspool.domain.schedule import When
from outspool.errors import brief
from outspool.services.intake import Draft
from outspool.services.outbox import Outbox
from outspool.tools.arguments import (
    EmailArguments,
    ListArguments,
    MessageArguments,
    NoArguments,
    ScheduleArguments,
    SendArguments,
    UpdateArguments,
    given,
)
from outspool.tools.results import (
    EmailResult,
    TemplateResult,
    counted,
    email_result,
    list_result,
    preview_result,
    scheduled_result,
    status_result,
    templates_result,
)
from outspool.tools.strict_tool import Answer

log = logging.getLogger(__name__)

_WHEN = frozenset({"scheduled_at", "timezone", "delay"})
_NOT_CONTENT = _WHEN | {"email_id", "wait", "idempotency_key", "preview"}


class Handlers:
    """The tools over one outbox."""

    def __init__(self, outbox: Outbox) -> None:
        """Serve calls from `outbox`."""
        self._outbox = outbox

    async def send(self, arguments: SendArguments) -> Answer:
        """Accept an email for now, and wait a while for its outcome."""
        if arguments.preview:
            return await self._preview(arguments)
        email = await self._outbox.accept(_draft(arguments), idempotency_key=arguments.idempotency_key)
        return await self._answer(await self._settled(email, arguments.wait))

    async def schedule(self, arguments: ScheduleArguments) -> Answer:
        """Accept an email for later."""
        if arguments.preview:
            return await self._preview(arguments, _when(arguments))
        email = await self._outbox.accept(
            _draft(arguments), when=_when(arguments), idempotency_key=arguments.idempotency_key
        )
        return await self._answer(email, scheduled_result)

    async def _preview(self, arguments: MessageArguments, when: When | None = None) -> Answer:
        preview = await self._outbox.preview(_draft(arguments), when=when)
        result = preview_result(preview, now=self._outbox.now())
        to = ", ".join([*result.to, *(result.cc or ()), *(result.bcc or ())])
        return Answer(text=f"{result.summary}\nTo: {to}\nSubject: {result.subject}\n\n{result.text}", result=result)

    async def templates(self, _arguments: NoArguments) -> Answer:
        """Show the templates there are."""
        result = templates_result(await self._outbox.list_templates())
        return Answer(text="\n".join(map(_described, result.templates)) or "There are no templates.", result=result)

    async def status(self, arguments: EmailArguments) -> Answer:
        """Show one email with its history."""
        return await self._answer(await self._outbox.get(arguments.email_id), status_result)

    async def find(self, arguments: ListArguments) -> Answer:
        """Show one page of emails."""
        listing = await self._outbox.find(**{k: v for k, v in given(arguments).items() if v is not None})
        pause = await self._outbox.pause()
        result = list_result(
            listing.emails,
            next_cursor=listing.next_cursor,
            counts=listing.counts,
            now=self._outbox.now(),
            pause=pause,
        )
        lines = [f"{e.id} {e.status}, {brief(e.subject)} to {', '.join(e.to[:3])}: {e.summary}" for e in result.emails]
        counts = counted(result.counts) or "none"
        more = f" More follow: cursor {result.next_cursor}." if result.next_cursor else ""
        head = f"{len(lines)} shown, newest first. In the whole outbox: {counts}.{more}"
        return Answer(text="\n".join([head, *lines]), result=result)

    async def update(self, arguments: UpdateArguments) -> Answer:
        """Change an email that still waits."""
        changes = given(arguments, but=_NOT_CONTENT)
        when = None if (asked := _when(arguments)) == When() else asked
        return await self._answer(await self._outbox.update(arguments.email_id, changes, when=when))

    async def cancel(self, arguments: EmailArguments) -> Answer:
        """Stop an email that still waits."""
        return await self._answer(await self._outbox.cancel(arguments.email_id))

    async def retry(self, arguments: EmailArguments) -> Answer:
        """Send again to whoever did not get it."""
        return await self._answer(await self._outbox.retry(arguments.email_id))

    async def _settled(self, email: Email, within: float) -> Email:
        """Wait for the outcome. The email is committed already, so no trouble while waiting may hide that."""
        try:
            return await self._outbox.settle(email, within=within)
        except Exception:
            log.exception("lost sight of %s after accepting it", email.id)
            return email

    async def _answer(
        self,
        email: Email,
        show: Callable[..., EmailResult] = email_result,
    ) -> Answer:
        pause = await self._outbox.pause(email)
        result = show(email, now=self._outbox.now(), pause=pause)
        return Answer(text=f"{result.summary} Email id: {result.id}", result=result)


def _described(template: TemplateResult) -> str:
    if template.error is not None:
        return f"{template.name} cannot be used: {template.error}"
    needs = f"needs {', '.join(template.required)}" if template.required else "needs nothing"
    knows = f"; may be given {', '.join(template.defaults)}" if template.defaults else ""
    return f"{template.name} {needs}{knows}. {template.description or ''}".rstrip()


def _draft(arguments: MessageArguments) -> Draft:
    """Keep what was written; a null is no value."""
    written = given(arguments, but=_NOT_CONTENT)
    return Draft(**{name: value for name, value in written.items() if value is not None})


def _when(arguments: ScheduleArguments | UpdateArguments) -> When:
    return When(scheduled_at=arguments.scheduled_at, timezone=arguments.timezone, delay=arguments.delay)
