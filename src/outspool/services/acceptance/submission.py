"""Turns what callers ask for into emails: written, checked and measured, and not yet stored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar
from uuid import UUID

from outspool.domain.email import Content, Email, Recipient
from outspool.domain.policy import Policy
from outspool.domain.schedule import When
from outspool.errors import InvalidSchedule, NotConfigured, TemplateError, TooLarge
from outspool.message.compose import compose_in_thread, new_message_id, read_alternatives
from outspool.ports.clock import Clock
from outspool.ports.emails import EmailStore
from outspool.services.acceptance import series
from outspool.services.acceptance.attachment_requests import AttachmentRequest
from outspool.services.acceptance.attachments import Attachments, Gathered
from outspool.services.acceptance.validation import (
    EmailRequest,
    check_idempotency_key,
    fingerprint,
    is_large,
    validate_request,
)
from outspool.services.templates.catalog import Templates

_MEGABYTE = 1024 * 1024

P = ParamSpec("P")
T = TypeVar("T")

Gather = Callable[[Sequence[AttachmentRequest]], Awaitable[Gathered]]
"""Reads and checks files, and keeps them open, or known, for as long as whoever gives it will need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """On what terms emails are accepted. `refusal` is why none can be, None when all is configured."""

    policy: Policy
    expire_after: timedelta
    refusal: NotConfigured | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would go out: the `email` as it would be stored, its plain `text`, and the message's `size` in bytes."""

    email: Email
    text: str
    size: int


class Submissions:
    """Makes emails of drafts. Each method raises `Refusal`, or `StoreUnavailable` when it has to look something up."""

    def __init__(
        self,
        store: EmailStore,
        *,
        attachments: Attachments,
        templates: Templates,
        terms: Acceptance,
        new_id: Callable[[datetime], UUID],
        clock: Clock,
    ) -> None:
        """`new_id` must give ids that grow with the time it is given (UUIDv7): pages are cut by them."""
        self._store = store
        self._attachments = attachments
        self._templates = templates
        self._terms = terms
        self._new_id = new_id
        self._clock = clock

    async def asked(
        self, draft: EmailRequest, when: When | None, idempotency_key: str | None, gather: Gather
    ) -> tuple[Email, Gathered]:
        """Return the email that is asked for: a new one, or the one that the same call made before.

        With it come its files, by `gather`, which are to be stored before it.
        """
        if self._terms.refusal is not None:
            raise self._terms.refusal
        key = None if idempotency_key is None else check_idempotency_key(idempotency_key)
        try:
            email, files = await self._drawn(draft, when, key, gather)
        except (InvalidSchedule, TemplateError):
            # The same call made again, after its time has come or its template has changed, must find its email and
            # not send another.
            if key is not None and (known := await self._known(draft, when, key, gather)) is not None:
                return known
            raise
        await measured(email, self._terms.policy)
        return email, files

    async def preview(self, draft: EmailRequest, *, when: When | None = None) -> Preview:
        """Return what `asked` would; an account need not be set for it."""
        async with AsyncExitStack() as opened:
            email, _ = await self._drawn(draft, when, None, self._attachments.opening(opened))
        text, _ = await read_alternatives(email.content)
        return Preview(email=email, text=text, size=await measured(email, self._terms.policy))

    async def _drawn(
        self, draft: EmailRequest, when: When | None, key: str | None, gather: Gather
    ) -> tuple[Email, Gathered]:
        """Return a new email and its files, which are read last: they may be large, and all else may be wrong."""
        if when is not None and not when.is_given and when.recurrence is None:
            raise InvalidSchedule(
                "Neither scheduled_at nor delay is given.",
                "Give one: scheduled_at 2026-11-23T09:00:00+01:00, delay PT2H, or recurrence. Nothing was scheduled.",
            )
        work = asyncio.to_thread if is_large(draft) else _at_once
        content = await work(validate_request, await self._templates.written(draft), self._terms.policy)
        files = await gather(draft.attachments)
        content = replace(content, attachments=files.attachments)
        return await work(self._new_email, content, draft, when, key), files

    async def _known(
        self, draft: EmailRequest, when: When | None, key: str, gather: Gather
    ) -> tuple[Email, Gathered] | None:
        if when is not None and not when.is_given and when.recurrence is None:
            return None
        email = await self._store.by_key(key)
        if email is None:
            return None
        # Of a template only the name counts (`_fingerprint`); something has to stand for its text.
        filled = draft if draft.template is None else replace(draft, template=None, body=draft.template)
        files = await gather(draft.attachments)
        content = replace(validate_request(filled, self._terms.policy), attachments=files.attachments)
        return (email, files) if email.fingerprint == _fingerprint(content, when, draft) else None

    def _new_email(self, content: Content, draft: EmailRequest, when: When | None, key: str | None) -> Email:
        now = self._clock.now()
        status, scheduled_at, rule = series.planned(when, now=now)
        due_at = scheduled_at or now
        email_id = self._new_id(now)
        return Email(
            id=email_id,
            status=status,
            content=content,
            recipients=pending(content),
            message_id=new_message_id(email_id, content.sender),
            date=due_at,
            created_at=now,
            due_at=due_at,
            expires_at=due_at + self._terms.expire_after,
            scheduled_at=scheduled_at,
            idempotency_key=key,
            fingerprint=_fingerprint(content, when, draft),
            recurrence=rule,
        )


async def _at_once(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what `asyncio.to_thread` does, where a thread would cost more than the work."""
    return work(*args, **kwargs)


async def measured(email: Email, policy: Policy) -> int:
    """Return the message's size in bytes; raise `Refusal` when it cannot be sent, `TooLarge` when it is too large.

    It is drawn up for that, so that nothing is accepted which no message can carry.
    """
    limit = policy.max_message_bytes
    size = (await compose_in_thread(email)).size
    if size > limit:
        raise TooLarge(
            f"The message would be {size / _MEGABYTE:.1f} MB as encoded; {limit / _MEGABYTE:.1f} MB is the most.",
            "Shorten it, or raise EMAIL_MAX_MESSAGE_MB if your server takes more.",
        )
    return size


def pending(content: Content) -> tuple[Recipient, ...]:
    """Return the recipients of an email that nobody has yet."""
    return tuple(Recipient(kind=kind, mailbox=mailbox) for kind, mailbox in content.addressed())


def _fingerprint(content: Content, when: When | None, draft: EmailRequest) -> str:
    """Return the fingerprint of what was asked: of a template its name, for what it says may change."""
    when = when or When()
    if draft.template is not None:
        content = replace(content, subject=draft.subject, body=None, html=None)
    return fingerprint(
        content,
        scheduled_at=when.scheduled_at,
        timezone=when.timezone,
        delay=when.delay,
        template=draft.template,
        variables=draft.variables,
        recurrence=series.rule_asked(when),
    )
