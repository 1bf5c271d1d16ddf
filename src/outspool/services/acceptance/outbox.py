"""Accepts, shows, changes, cancels and retries emails: what every face calls. It never delivers."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Self, Unpack
from uuid import UUID

from outspool.domain.email import Email, Event
from outspool.domain.policy_check import check_policy
from outspool.domain.principal import Principal
from outspool.domain.schedule import When
from outspool.domain.status import UNSETTLED, EmailStatus
from outspool.domain.summary import Pause
from outspool.domain.transition import OVERRIDDEN, OVERRIDE_DETAIL
from outspool.errors import InvalidArgument, NotFound, StoreUnavailable, WrongState, brief
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.ports.emails import Changes, EmailStore
from outspool.services.acceptance.attachments import Attachments
from outspool.services.acceptance.listing import Filters, Listing, read_email_id, read_search, write_cursor
from outspool.services.acceptance.preparation import (
    AcceptanceRules,
    Preparer,
    Preview,
    Submission,
    check_size,
)
from outspool.services.acceptance.revision import describe_changes, plan_cancellation, plan_retry, revise_email
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.acceptance.waiting import OutcomeWaiter, PauseReader, wait_for_change
from outspool.services.templates.catalog import TemplateCard, Templates

_LAST_LOOK_SECONDS = 1.0
"""How much longer than asked a caller may wait, to learn how the email stands in the end."""


class Outbox:
    """The service behind every face, for one caller: see `acting_for`.

    What the caller may not see is not found. Each method raises `Refusal` (nothing changed) or `StoreUnavailable`.
    """

    def __init__(
        self,
        store: EmailStore,
        account: Account,
        changes: Changes,
        *,
        attachments: Attachments,
        templates: Templates,
        rules: AcceptanceRules,
        principal: Principal,
        new_id: Callable[[datetime], UUID],
        clock: Clock,
    ) -> None:
        """`new_id` must give ids that grow with the time it is given (UUIDv7): pages are cut by them."""
        self._store = store
        self._account = account
        self._changes = changes
        self._attachments = attachments
        self._templates = templates
        self._rules = rules
        self._principal = principal
        self._clock = clock
        self._preparer = Preparer(
            store, attachments=attachments, templates=templates, rules=rules, new_id=new_id, clock=clock
        )
        self._pauses = PauseReader(account, clock=clock)
        self._outcomes = OutcomeWaiter(store, changes)

    def acting_for(self, principal: Principal) -> Self:
        """Return this outbox as another caller may use it."""
        view = copy.copy(self)
        view._principal = principal  # noqa: SLF001 - our own class
        return view

    def now(self) -> datetime:
        """Return the server's time, UTC."""
        return self._clock.now()

    async def account(self) -> AccountState:
        """Return how the SMTP account fares."""
        return await self._account.state()

    async def pause(self, email: Email | None = None) -> Pause | None:
        """Return why and until when the account rests; see `PauseReader.read`."""
        return await self._pauses.read(email)

    async def accept(
        self, request: EmailRequest, *, when: When | None = None, idempotency_key: str | None = None
    ) -> Email:
        """Check and commit an email: due now (`when` None), or at `when`. What is returned survives any crash.

        A second call with the same key and payload returns the first call's email. The files are stored first, so that
        the email never has one that is not there.
        """
        submission = Submission(request=request, when=when, idempotency_key=idempotency_key)
        email, attachments = await self._preparer.prepare(submission, self._principal)
        await attachments.store()
        return await self._store.add(email, self._event(email, "accepted", at=email.created_at))

    async def accept_all(self, submissions: Sequence[Submission]) -> Sequence[Email]:
        """Check and commit emails: all of them, or none.

        Returns an email for each, in their order, as `accept` would. A `Refusal` names the first that is at fault.
        """
        emails, attachments = await self._preparer.prepare_batch(submissions, self._principal)
        await attachments.store()
        return await self._store.add_all(
            [(email, self._event(email, "accepted", at=email.created_at)) for email in emails]
        )

    async def preview(self, request: EmailRequest, *, when: When | None = None) -> Preview:
        """Return what `accept` would make of the same, and store nothing. It needs no account to be set."""
        return await self._preparer.preview(Submission(request=request, when=when), self._principal)

    async def list_templates(self) -> list[TemplateCard]:
        """Return a card of every template, by name."""
        return await self._templates.list()

    async def show_template(self, name: str) -> tuple[TemplateCard, Mapping[str, str]]:
        """Return one template, and the text of its files by their names."""
        return await self._templates.show(name)

    async def raw(self, email_id: str) -> bytes:
        """Return the very message that goes, or went, on the wire, whole.

        Raises `AttachmentLost` or `BlobsUnavailable` when its files are not to be had.
        """
        email = await self.get(email_id)
        async with self._attachments.open_message(email) as message:
            return message if isinstance(message, bytes) else b"".join([chunk async for chunk in message.chunks])

    async def version(self, email_id: str) -> int:
        """Return the email's version, which grows with every change."""
        version = await self._store.version(read_email_id(email_id), self._principal.scope)
        if version is None:
            raise _not_found(email_id)
        return version

    async def next_version(self, email_id: str, *, after: int) -> int:
        """Wait, for as long as it takes, until the email is of another version than `after`; return that."""
        return await wait_for_change(
            self._store, self._changes, read_email_id(email_id), self._principal.scope, after=after
        )

    async def get(self, email_id: str) -> Email:
        """Return the email with its events."""
        email = await self._store.get(read_email_id(email_id), self._principal.scope)
        if email is None:
            raise _not_found(email_id)
        return email

    async def find(self, **filters: Unpack[Filters]) -> Listing:
        """Return one page of emails, newest first; see `Filters`."""
        search = read_search(**filters)
        page = await self._store.find(search, self._principal.scope)
        counts = await self._store.counts(self._principal.scope)
        cursor = write_cursor(page.next_before) if page.next_before else None
        return Listing(emails=page.emails, next_cursor=cursor, counts=counts)

    async def update(self, email_id: str, changes: Mapping[str, Any], *, when: When | None = None) -> Email:
        """Change content (`changes` is keyed like `EmailRequest`), time, or both, while the email waits."""
        if not changes and when is None:
            raise InvalidArgument(
                "There is nothing to change.", "Give what shall change, e.g. subject or scheduled_at."
            )
        staged = self._attachments.stage(self._principal.scope)
        if "attachments" in changes:
            changes = {**changes, "attachments": await staged.read(changes["attachments"] or ())}
        while True:
            email = replace(await self.get(email_id), overrides_policy=False)
            now = self._clock.now()
            revised = revise_email(email, changes, when, rules=self._rules, now=now)
            await check_size(revised, self._rules.policy)
            await staged.store()
            event = self._event(revised, "updated", at=now, detail=describe_changes(changes, when))
            if await self._store.revise(revised, event, self._principal.scope):
                return await self.get(email_id)

    async def cancel(self, email_id: str) -> Email:
        """Cancel a waiting email; it is never sent then. If some recipients were served, stop the rest."""
        while True:
            email = await self.get(email_id)
            if email.status is EmailStatus.CANCELED:
                return email
            change = plan_cancellation(email, actor=self._principal.actor, now=self._clock.now())
            version = None if email.unreadable else email.version  # which may be what cannot be read
            if await self._store.record(email.id, change, self._principal.scope, version=version):
                return await self.get(email_id)
            if email.unreadable:
                raise WrongState(
                    "This email cannot be read, and it no longer waits, so it cannot be canceled.",
                    "The operator mends its row; `outspool doctor` says what is wrong with it.",
                )

    async def retry(self, email_id: str, *, override_policy: bool = False) -> Email:
        """Send again to whoever does not have it, if it failed, partly failed or is in doubt.

        What is deferred moves to now; an account that rests still rests. Raises `RecipientRefused` or `SenderRefused`
        when the policy lets it go to none of them any more, unless an operator says `override_policy`: that is recorded
        as an event, and holds until somebody changes or retries the email.
        """
        while True:
            email = await self.get(email_id)
            if await self._retry(email, override_policy=override_policy):
                return await self.get(email_id)

    async def _retry(self, email: Email, *, override_policy: bool) -> bool:
        """Make it due now; False when it changed meanwhile."""
        now = self._clock.now()
        if email.status is EmailStatus.DEFERRED:
            retried = replace(email, due_at=now, overrides_policy=override_policy)
            check_policy(self._rules.policy, retried)
            code, detail = (OVERRIDDEN, OVERRIDE_DETAIL) if override_policy else ("retried", "")
            event = self._event(email, code, at=now, detail=detail)
            return await self._store.revise(retried, event, self._principal.scope)
        change = plan_retry(
            email, actor=self._principal.actor, rules=self._rules, now=now, override_policy=override_policy
        )
        return await self._store.record(email.id, change, self._principal.scope, version=email.version)

    async def wait_for_outcome(self, email: Email, *, within: float) -> Email:
        """Wait up to `within` seconds until something has come of the email; return it as it then is."""
        if email.status not in UNSETTLED or within <= 0:
            return email
        await self._outcomes.wait(email.id, within=within)
        # It is accepted: a database in trouble must not turn the answer into an error, nor make it late.
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                return await self._store.get(email.id, self._principal.scope) or email
        return email

    async def wait_for_outcomes(
        self, emails: Sequence[Email], *, within: float, settled: Callable[[int], Awaitable[None]]
    ) -> Sequence[Email]:
        """Wait like `wait_for_outcome` for each; tell `settled` how many have one, each time it grows."""
        waiting = [email.id for email in emails if email.status in UNSETTLED] if within > 0 else []
        if not waiting:
            return emails
        done = len(emails) - len(waiting)
        await settled(done)
        outcomes = [asyncio.create_task(self._outcomes.wait(one, within=within)) for one in waiting]
        try:
            for outcome in asyncio.as_completed(outcomes):
                if await outcome:
                    done += 1
                    await settled(done)
        finally:
            for task in outcomes:
                task.cancel()  # of those who wait no longer
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                now = {email.id: email for email in await self._store.get_all(waiting, self._principal.scope)}
                return [now.get(email.id, email) for email in emails]
        return emails

    def _event(self, email: Email, code: str, *, at: datetime, detail: str = "") -> Event:
        return Event(at=at, status=email.status, code=code, detail=detail, actor=self._principal.actor)


def _not_found(email_id: str) -> NotFound:
    return NotFound(f"There is no email {brief(email_id)}.", "Use list_emails to find its id.")
