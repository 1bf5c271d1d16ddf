"""Turns a caller's request into a valid, rendered and size-checked email, ready to be stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar
from uuid import UUID

from outspool.domain.attachment import MAX_ATTACHMENTS
from outspool.domain.email import Content, Email, Problem, Recipient
from outspool.domain.policy import Policy
from outspool.domain.principal import Principal
from outspool.domain.recurrence import Recurrence
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import When
from outspool.domain.setting import Setting
from outspool.domain.status import EmailStatus
from outspool.errors import InvalidArgument, InvalidSchedule, NotConfigured, Refusal, TemplateError, TooLarge
from outspool.message.compose import new_message_id
from outspool.ports.clock import Clock
from outspool.ports.emails import EmailStore
from outspool.services.acceptance.attachment_requests import check_description
from outspool.services.acceptance.attachments import Attachments, StagedAttachments
from outspool.services.acceptance.series import lacks_time, make_series, plan_times, read_rule
from outspool.services.acceptance.validation import (
    EmailRequest,
    check_idempotency_key,
    fingerprint_content,
    is_large,
    text_size,
    validate_request,
)
from outspool.services.message_stream import build_alternatives_in_thread, compose_in_thread
from outspool.services.templates.catalog import Templates, check_variables

MAX_BATCH = 100
"""Most emails in one call."""

_MEGABYTE = 1024 * 1024

MAX_BATCH_TEXT = 25 * _MEGABYTE
"""Most characters of text and HTML in one call: a newsletter of 250 KB to a hundred recipients."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRules:
    """The policy for new emails, and how long after their due time they expire.

    `identity` is the address by which workers claim them (`outspool.domain.identity.Identity`). `obstacle` is why
    nothing can be accepted; None if outspool is configured.
    """

    policy: Policy
    expire_after: timedelta
    identity: str
    obstacle: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One email to accept; due now if `when` is None."""

    request: EmailRequest
    when: When | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """An email that would be sent: the `email` as stored, its plain `text`, and the message's `size` in bytes."""

    email: Email
    text: str
    size: int


class Preparer:
    """Makes emails from submissions. Raises `Refusal` or `StoreUnavailable`."""

    def __init__(
        self,
        store: EmailStore,
        *,
        attachments: Attachments,
        templates: Templates,
        rules: AcceptanceRules,
        new_id: Callable[[datetime], UUID],
        clock: Clock,
    ) -> None:
        """`new_id` returns ids that grow with time (UUIDv7), because pages are cut by id."""
        self._store = store
        self._attachments = attachments
        self._templates = templates
        self._rules = rules
        self._new_id = new_id
        self._clock = clock

    async def prepare(self, submission: Submission, principal: Principal) -> tuple[Email, StagedAttachments]:
        """Return a new email, or the one of an earlier identical call, and its attachments.

        The caller stores the attachments before the email.
        """
        self._check_configured()
        staged = self._attachments.stage(principal.scope)
        return await self._prepare(submission, principal, staged), staged

    async def prepare_batch(
        self, submissions: Sequence[Submission], principal: Principal
    ) -> tuple[list[Email], StagedAttachments]:
        """Prepare 1 to `MAX_BATCH` emails like `prepare`. A `Refusal` names every submission at fault."""
        check_batch_size(len(submissions))
        _check_batch_text(submissions)
        self._check_configured()
        staged = self._attachments.stage(principal.scope)
        faults, emails = RefusalCollector(), []
        for place, submission in enumerate(submissions):
            await asyncio.sleep(0)  # composing is slow: let other tasks run
            with faults.collect(f"emails[{place}]: "):
                emails.append(await self._prepare(submission, principal, staged))
            if faults.is_full:
                break
        faults.raise_any()
        return emails, staged

    async def preview(self, submission: Submission, principal: Principal) -> Preview:
        """Return what `prepare` would; works without an account and stores nothing."""
        email = await self._new_email(submission, principal, self._attachments.stage(principal.scope))
        text, _ = await build_alternatives_in_thread(email.content)
        return Preview(email=email, text=text, size=await check_size(email, self._rules.policy))

    def _check_configured(self) -> None:
        if (obstacle := self._rules.obstacle) is not None:
            raise NotConfigured(obstacle.message, obstacle.hint)

    async def _prepare(self, submission: Submission, principal: Principal, staged: StagedAttachments) -> Email:
        try:
            email = await self._new_email(submission, principal, staged)
        except Refusal as refusal:
            # A repeated call must find its email instead of failing because its time has passed or its template has
            # changed.
            if not (refusal.kinds or {type(refusal)}) <= {InvalidSchedule, TemplateError}:
                raise
            if (duplicate := await self._find_duplicate(submission, principal, staged)) is not None:
                return duplicate
            raise
        await check_size(email, self._rules.policy)
        return email

    async def _new_email(self, submission: Submission, principal: Principal, staged: StagedAttachments) -> Email:
        """Return a new email.

        Raises a `Refusal` that says every fault. Attachments are read last, because they may be large: if anything else
        is at fault, only their descriptions are checked.
        """
        request, faults = submission.request, RefusalCollector()
        run = asyncio.to_thread if is_large(request) else _run_now
        with faults.collect():
            if submission.idempotency_key is not None:
                check_idempotency_key(submission.idempotency_key)
        with faults.collect():
            plan_times(submission.when, now=self._clock.now())
        rendered = request
        with faults.collect():
            rendered = await render_request(request, self._templates)
        with faults.collect():
            content = await run(validate_request, _fill_in(rendered), self._rules.policy)
        if faults:
            for place, attachment in enumerate(request.attachments[:MAX_ATTACHMENTS]):
                with faults.collect():
                    check_description(attachment, f"attachments[{place}]")
            faults.raise_any()
        content = replace(content, attachments=await staged.read(request.attachments))
        return await run(self._build_email, content, submission, principal)

    def _build_email(self, content: Content, submission: Submission, principal: Principal) -> Email:
        now = self._clock.now()
        email_id = self._new_id(now)
        rule, scheduled_at = plan_times(submission.when, now=now)
        due_at = scheduled_at or now
        email = Email(
            id=email_id,
            status=EmailStatus.QUEUED if scheduled_at is None else EmailStatus.SCHEDULED,
            content=content,
            recipients=pending_recipients(content),
            message_id=new_message_id(email_id, content.sender),
            date=due_at,
            created_at=now,
            due_at=due_at,
            expires_at=due_at + self._rules.expire_after,
            scheduled_at=scheduled_at,
            timezone=_zone_of(submission.when, rule),
            identity=self._rules.identity,
            owner=principal.user,
            agent=principal.agent,
            client=principal.client,
            idempotency_key=submission.idempotency_key,
            fingerprint=_fingerprint(content, submission),
        )
        return email if rule is None else make_series(email, rule)

    async def _find_duplicate(
        self, submission: Submission, principal: Principal, staged: StagedAttachments
    ) -> Email | None:
        """Return the email of an earlier identical call, by key and fingerprint."""
        key, request = submission.idempotency_key, submission.request
        if key is None or lacks_time(submission.when):
            return None
        email = await self._store.by_key(key, principal.scope)
        if email is None:
            return None
        # The fingerprint contains the template's name instead of its texts, so any text will do here.
        stand_in = request if request.template is None else replace(request, template=None, body=request.template)
        content = validate_request(stand_in, self._rules.policy)
        content = replace(content, attachments=await staged.read(request.attachments))
        return email if email.fingerprint == _fingerprint(content, submission) else None


def _zone_of(when: When | None, rule: Recurrence | None) -> str | None:
    """Return the zone in which the time was given; see `Email.timezone`."""
    if rule is not None:
        return rule.timezone
    return None if when is None else when.zone


async def _run_now(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Stand-in for `asyncio.to_thread` where a thread would cost more than the work."""
    return work(*args, **kwargs)


def check_batch_size(emails: int) -> None:
    """Raise `InvalidArgument` unless one call may contain this many emails."""
    if not 1 <= emails <= MAX_BATCH:
        raise InvalidArgument(f"emails holds {emails}; it takes 1 to {MAX_BATCH}.", "Nothing was sent.")


def _check_batch_text(submissions: Sequence[Submission]) -> None:
    """Raise `TooLarge` for too much text: text shared by a batch is stored once for each email."""
    size = sum(text_size(submission.request) for submission in submissions)
    if size > MAX_BATCH_TEXT:
        raise TooLarge(
            f"The texts of the emails are {size / _MEGABYTE:.1f} MB together; "
            f"{MAX_BATCH_TEXT // _MEGABYTE} MB is the most.",
            "Send several batches. Nothing was sent.",
        )


async def render_request(request: EmailRequest, templates: Templates) -> EmailRequest:
    """Return the request with its template's texts in place of the template; its own subject wins.

    Raises `TemplateError`, and `InvalidArgument` for a template beside a body, or variables without a template.
    """
    if request.template is None:
        if request.variables:
            raise InvalidArgument("variables are given without a template.", "Name it in `template`.")
        return request
    check_variables(request.variables)
    if request.body is not None or request.html is not None:
        raise InvalidArgument("template is given beside body or html.", "Give the one or the other.")
    texts = await templates.render(request.template, request.variables, subject=request.subject)
    return replace(request, subject=texts.subject, body=texts.text, html=texts.html, template=None, variables={})


async def check_size(email: Email, policy: Policy) -> int:
    """Return the size of the composed message in bytes.

    Raises `TooLarge`, and the `Refusal` of content that no message can carry.
    """
    limit = policy.max_message_bytes
    size = (await compose_in_thread(email)).size
    if size > limit:
        raise TooLarge(
            f"The message would be {size / _MEGABYTE:.1f} MB as encoded; {limit / _MEGABYTE:.1f} MB is the most.",
            f"Shorten it, or raise {Setting.MAX_MESSAGE_SIZE} if your server takes more.",
        )
    return size


def pending_recipients(content: Content) -> tuple[Recipient, ...]:
    """Return the recipients of `content`, all pending."""
    return tuple(Recipient(kind=kind, mailbox=mailbox) for kind, mailbox in content.list_recipients())


def _fill_in(request: EmailRequest) -> EmailRequest:
    """Return the request with texts instead of a template that could not be rendered, to find its other faults."""
    if request.template is None:
        return request
    return replace(request, subject=request.subject or request.template, body=request.template, template=None)


def _fingerprint(content: Content, submission: Submission) -> str:
    """Return the submission's fingerprint; of a template only the name counts, because its texts may change."""
    request, when = submission.request, submission.when or When()
    if request.template is not None:
        content = replace(content, subject=request.subject, body=None, html=None)
    return fingerprint_content(
        content,
        scheduled_at=when.scheduled_at,
        timezone=when.timezone,
        delay=when.delay,
        template=request.template,
        variables=request.variables,
        recurrence=read_rule(when),
    )
