"""Accept, show, change, cancel and retry emails: what every face calls. Never delivers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any, Unpack
from uuid import UUID

from outspool.domain.email import Email, Event
from outspool.domain.policy_check import check_policy
from outspool.domain.schedule import When
from outspool.domain.status import UNSETTLED, EmailStatus
from outspool.domain.summary import Pause
from outspool.domain.transition import OVERRIDDEN, OVERRIDE_DETAIL
from outspool.errors import InvalidArgument, NotFound, StoreUnavailable, WrongState, brief
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.ports.emails import Changes, EmailStore
from outspool.services.acceptance.account_news import AccountNews
from outspool.services.acceptance.attachments import Attachments
from outspool.services.acceptance.batch import Batch
from outspool.services.acceptance.email_news import next_version
from outspool.services.acceptance.listing import Filters, Listing, read_email_id, read_search, write_cursor
from outspool.services.acceptance.outcome_waiter import OutcomeWaiter
from outspool.services.acceptance.revision import another_try, cancellation, named, revised
from outspool.services.acceptance.submission import Acceptance, Preview, Submissions, measured
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.templates.catalog import TemplateCard, Templates

_LAST_LOOK_SECONDS = 1.0
"""How much longer than asked a caller may wait, to learn how the email stands in the end."""


class Outbox:
    """The service behind every face. Each method raises `Refusal` (nothing changed) or `StoreUnavailable`."""

    def __init__(
        self,
        store: EmailStore,
        account: Account,
        changes: Changes,
        *,
        attachments: Attachments,
        templates: Templates,
        terms: Acceptance,
        new_id: Callable[[datetime], UUID],
        clock: Clock,
    ) -> None:
        """`new_id` must give ids that grow with the time it is given (UUIDv7): pages are cut by them."""
        self._store = store
        self._account = account
        self._changes = changes
        self._attachments = attachments
        self._templates = templates
        self._terms = terms
        self._clock = clock
        self._submissions = Submissions(
            store, attachments=attachments, templates=templates, terms=terms, new_id=new_id, clock=clock
        )
        self._account_news = AccountNews(account, clock=clock)
        self._outcome_waiter = OutcomeWaiter(store, changes)

    def now(self) -> datetime:
        """Return the server's time, UTC."""
        return self._clock.now()

    async def account(self) -> AccountState:
        """Return how the SMTP account fares."""
        return await self._account.state()

    async def pause(self, email: Email | None = None) -> Pause | None:
        """Return why and until when the account rests; see `AccountNews.pause`."""
        return await self._account_news.pause(email)

    async def accept(
        self, draft: EmailRequest, *, when: When | None = None, idempotency_key: str | None = None
    ) -> Email:
        """Check and commit an email: due now (`when` None), or at `when`. What is returned survives any crash.

        A second call with the same key and payload returns the first call's email. The files are stored first, so that
        the email never has one that is not there.
        """
        async with AsyncExitStack() as opened:
            gather = self._attachments.opening(opened)
            email, files = await self._submissions.asked(draft, when, idempotency_key, gather)
            await files.store()
            return await self._store.add(email, _accepted(email))

    async def accept_all(self, asked: Sequence[tuple[EmailRequest, str | None]]) -> Sequence[Email]:
        """Check and commit emails that are due now, each with an idempotency key or None: all of them, or none.

        Returns an email for each, in their order, as `accept` would. A `Refusal` names the first that is at fault.
        """
        batch = Batch(self._submissions, self._attachments)
        emails = await batch.asked(asked)
        await batch.store_files()
        return await self._store.add_all([(email, _accepted(email)) for email in emails])

    async def preview(self, draft: EmailRequest, *, when: When | None = None) -> Preview:
        """Return what `accept` would make of the same, and store nothing. It needs no account to be set."""
        return await self._submissions.preview(draft, when=when)

    async def list_templates(self) -> list[TemplateCard]:
        """Return what templates there are, by name."""
        return await self._templates.listed()

    async def show_template(self, name: str) -> tuple[TemplateCard, Mapping[str, str]]:
        """Return one template, and the text of its files by their names."""
        return await self._templates.shown(name)

    async def raw(self, email_id: str) -> bytes:
        """Return the very message that goes, or went, on the wire, whole.

        Raises `AttachmentLost` or `BlobsUnavailable` when its files are not to be had.
        """
        email = await self.get(email_id)
        async with self._attachments.outgoing(email) as message:
            return message if isinstance(message, bytes) else b"".join([chunk async for chunk in message.chunks])

    async def version(self, email_id: str) -> int:
        """Return the email's version, which grows with every change."""
        version = await self._store.version(read_email_id(email_id))
        if version is None:
            raise _not_found(email_id)
        return version

    async def next_version(self, email_id: str, *, after: int) -> int:
        """Wait, for as long as it takes, until the email is of another version than `after`; return that."""
        return await next_version(self._store, self._changes, read_email_id(email_id), after=after)

    async def get(self, email_id: str) -> Email:
        """Return the email with its events."""
        email = await self._store.get(read_email_id(email_id))
        if email is None:
            raise _not_found(email_id)
        return email

    async def find(self, **filters: Unpack[Filters]) -> Listing:
        """Return one page of emails, newest first; see `Filters`."""
        search = read_search(**filters)
        page = await self._store.find(search)
        counts = await self._store.counts()
        cursor = write_cursor(page.next_before) if page.next_before else None
        return Listing(emails=page.emails, next_cursor=cursor, counts=counts)

    async def update(self, email_id: str, changes: Mapping[str, Any], *, when: When | None = None) -> Email:
        """Change content (`changes` is keyed like `EmailRequest`), time, or both, while the email waits."""
        if not changes and when is None:
            raise InvalidArgument(
                "There is nothing to change.", "Give what shall change, e.g. subject or scheduled_at."
            )
        async with self._attachments.gathered(changes.get("attachments") or ()) as files:
            if "attachments" in changes:
                changes = {**changes, "attachments": files.attachments}
            while True:
                email = await self.get(email_id)
                now = self._clock.now()
                changed = revised(replace(email, overrides_policy=False), changes, when, terms=self._terms, now=now)
                await measured(changed, self._terms.policy)
                await files.store()
                event = Event(at=now, status=changed.status, code="updated", detail=named(changes, when))
                if await self._store.revise(changed, event):
                    return await self.get(email_id)

    async def cancel(self, email_id: str) -> Email:
        """Cancel a waiting email; it is never sent then. If some recipients were served, stop the rest."""
        while True:
            email = await self.get(email_id)
            if email.status is EmailStatus.CANCELED:
                return email
            change = cancellation(email, now=self._clock.now())
            version = None if email.unreadable else email.version  # which may be what cannot be read
            if await self._store.record(email.id, change, version=version):
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
            check_policy(self._terms.policy, retried)
            code = OVERRIDDEN if override_policy else "retried"
            event = Event(at=now, status=email.status, code=code, detail=OVERRIDE_DETAIL if override_policy else "")
            return await self._store.revise(retried, event)
        change = another_try(email, terms=self._terms, now=now, override_policy=override_policy)
        return await self._store.record(email.id, change, version=email.version)

    async def settle(self, email: Email, *, within: float) -> Email:
        """Wait up to `within` seconds until something has come of the email; return it as it then is."""
        if email.status not in UNSETTLED or within <= 0:
            return email
        await self._outcome_waiter.settled(email.id, within=within)
        # It is accepted: a database in trouble must not turn the answer into an error, nor make it late.
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                return await self._store.get(email.id) or email
        return email

    async def settle_all(
        self, emails: Sequence[Email], *, within: float, settled: Callable[[int], Awaitable[None]]
    ) -> Sequence[Email]:
        """Wait like `settle` until something has come of each; tell `settled` of how many, first and of each more."""
        waiting = [email.id for email in emails if email.status in UNSETTLED] if within > 0 else []
        if not waiting:
            return emails
        done = len(emails) - len(waiting)
        await settled(done)
        outcomes = [asyncio.create_task(self._outcome_waiter.settled(one, within=within)) for one in waiting]
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
                now = {email.id: email for email in await self._store.get_all(waiting)}
                return [now.get(email.id, email) for email in emails]
        return emails


def _accepted(email: Email) -> Event:
    return Event(at=email.created_at, status=email.status, code="accepted")


def _not_found(email_id: str) -> NotFound:
    return NotFound(f"There is no email {brief(email_id)}.", "Use list_emails to find its id.")
