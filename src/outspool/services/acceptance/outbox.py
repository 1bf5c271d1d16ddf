"""The outbox service behind every face: accepts, shows, updates, cancels and retries emails. It never delivers."""

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
from outspool.domain.outlook import Outlook
from outspool.domain.policy_check import check_policy
from outspool.domain.principal import Principal, Role
from outspool.domain.schedule import When
from outspool.domain.status import UNSETTLED, EmailStatus
from outspool.domain.transition import OVERRIDDEN, OVERRIDE_DETAIL
from outspool.errors import InvalidArgument, NotFound, StoreUnavailable, WrongState, brief
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.ports.emails import Changes, EmailStore
from outspool.services.acceptance.attachments import Attachments
from outspool.services.acceptance.id_endings import ID_DIGITS, MOST_CANDIDATES, read_id_ending, too_short_error
from outspool.services.acceptance.listing import Filters, Listing, read_email_id, read_search, write_cursor
from outspool.services.acceptance.preparation import (
    AcceptanceRules,
    Preparer,
    Preview,
    Submission,
    check_size,
)
from outspool.services.acceptance.repeats import GuardedCall, RepeatGuard
from outspool.services.acceptance.revision import (
    Resolution,
    describe_changes,
    plan_cancellation,
    plan_resolution,
    plan_retry,
    revise_email,
)
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.acceptance.waiting import OutcomeWaiter, OutlookReader, wait_for_change
from outspool.services.templates.catalog import TemplateCard, Templates

_FINAL_READ_SECONDS = 1.0
"""How much longer than requested a caller may wait for the final read."""


class Outbox:
    """The outbox of one caller; see `acting_for`.

    Emails outside the caller's scope are not found. Each method raises `Refusal` (nothing changed) or
    `StoreUnavailable`.
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
        repeats: RepeatGuard,
        outlooks: OutlookReader,
        principal: Principal,
        new_id: Callable[[datetime], UUID],
        clock: Clock,
    ) -> None:
        """`new_id` returns ids that grow with time (UUIDv7), because pages are cut by id."""
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
        self._outlooks = outlooks
        self._outcomes = OutcomeWaiter(store, changes)
        self._repeats = repeats

    def acting_for(self, principal: Principal) -> Self:
        """Return this outbox for another caller."""
        view = copy.copy(self)
        view._principal = principal  # noqa: SLF001 - our own class
        return view

    def now(self) -> datetime:
        """Return the server's time, UTC."""
        return self._clock.now()

    async def account(self) -> AccountState:
        """Return the SMTP account's state."""
        return await self._account.state()

    async def outlook(self, *emails: Email) -> Outlook:
        """Return who sends waiting emails, and whether the account is paused; see `OutlookReader.read`."""
        return await self._outlooks.read(emails)

    async def begin_call(self, digest: Callable[[], bytes]) -> GuardedCall:
        """Begin a call that accepts emails; `digest` hashes its tool and arguments.

        If the same call accepted emails lately and its client left before the answer, they are the call's `emails`.
        """
        call = self._repeats.begin(self._principal, digest)
        call.emails = await call.store(self._recall(call))
        return call

    async def _recall(self, call: GuardedCall) -> Sequence[Email]:
        email_ids = await self._repeats.recall(call)
        return await self._store.get_all(email_ids, self._principal.scope) if email_ids else ()

    async def accept(
        self,
        request: EmailRequest,
        *,
        when: When | None = None,
        idempotency_key: str | None = None,
        call: GuardedCall | None = None,
    ) -> Email:
        """Validate and store an email, due at `when` or now. When this returns, the email survives any crash.

        A second call with the same key and payload returns the first call's email. Attachments are stored before the
        email, so that no email lacks its files.
        """
        submission = Submission(request=request, when=when, idempotency_key=idempotency_key)
        email, attachments = await self._preparer.prepare(submission, self._principal)
        await attachments.store()
        storing = self._store.add(email, self._event(email, "accepted", at=email.created_at))
        if call is None:
            return await storing
        [stored] = await call.store(_as_list(storing))
        return stored

    async def accept_all(
        self, submissions: Sequence[Submission], *, call: GuardedCall | None = None
    ) -> Sequence[Email]:
        """Validate and store all emails, or none; return them in order.

        A `Refusal` names the first email at fault.
        """
        emails, attachments = await self._preparer.prepare_batch(submissions, self._principal)
        await attachments.store()
        storing = self._store.add_all(
            [(email, self._event(email, "accepted", at=email.created_at)) for email in emails]
        )
        return await (storing if call is None else call.store(storing))

    async def preview(self, request: EmailRequest, *, when: When | None = None) -> Preview:
        """Return what `accept` would store, and store nothing. Works without a configured account."""
        return await self._preparer.preview(Submission(request=request, when=when), self._principal)

    async def list_templates(self) -> list[TemplateCard]:
        """Return the cards of all templates, by name."""
        return await self._templates.list()

    async def show_template(self, name: str) -> tuple[TemplateCard, Mapping[str, str]]:
        """Return one template's card and its files' texts by file name."""
        return await self._templates.show(name)

    async def raw(self, email_id: str) -> bytes:
        """Return the message exactly as sent, or as it would be sent.

        Raises `AttachmentLost` or `BlobsUnavailable` if its attachments cannot be read.
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
        """Wait, without limit, until the email's version differs from `after`, and return it."""
        return await wait_for_change(
            self._store, self._changes, read_email_id(email_id), self._principal.scope, after=after
        )

    async def get(self, email_id: str) -> Email:
        """Return the email with its events."""
        email = await self._store.get(read_email_id(email_id), self._principal.scope)
        if email is None:
            raise _not_found(email_id)
        return email

    async def expand_id(self, text: str) -> str:
        """Return the whole id that `text` is or ends. Raises `InvalidArgument`, naming the candidates if several do."""
        ending = read_id_ending(text)
        if len(ending) == ID_DIGITS:
            return str(UUID(ending))
        found = await self._store.find_by_ending(ending, self._principal.scope, limit=MOST_CANDIDATES + 1)
        if not found:
            raise _not_found(text)
        if len(found) > 1:
            raise too_short_error(ending, found)
        return str(found[0].id)

    async def find(self, **filters: Unpack[Filters]) -> Listing:
        """Return one page of emails, newest first; see `Filters`."""
        search = read_search(**filters)
        page = await self._store.find(search, self._principal.scope)
        counts = await self._store.counts(self._principal.scope)
        cursor = write_cursor(page.next_before) if page.next_before else None
        return Listing(emails=page.emails, next_cursor=cursor, counts=counts)

    async def update(self, email_id: str, changes: Mapping[str, Any], *, when: When | None = None) -> Email:
        """Change a waiting email's content (`changes`, keyed like `EmailRequest`), its time, or both."""
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
        """Cancel a waiting email. If some recipients already have it, cancel it for the others."""
        while True:
            email = await self.get(email_id)
            if email.status is EmailStatus.CANCELED:
                return email
            change = plan_cancellation(email, actor=self._principal.actor, now=self._clock.now())
            version = None if email.unreadable else email.version  # the version itself may be unreadable
            if await self._store.record(email.id, change, self._principal.scope, version=version):
                return await self.get(email_id)
            if email.unreadable:
                raise WrongState(
                    "This email cannot be read, and it no longer waits, so it cannot be canceled.",
                    "The operator mends its row; `outspool doctor` says what is wrong with it.",
                )

    async def retry(self, email_id: str, *, override_policy: bool = False) -> Email:
        """Send a failed, partly failed or doubtful email again to the recipients who lack it.

        A deferred email becomes due now, but a paused account stays paused. Raises `RecipientRefused` or
        `SenderRefused` if the policy now forbids it, unless an operator sets `override_policy`; that is recorded as an
        event and holds until the email is next updated or retried.
        """
        while True:
            email = await self.get(email_id)
            if await self._retry(email, override_policy=override_policy):
                return await self.get(email_id)

    async def _retry(self, email: Email, *, override_policy: bool) -> bool:
        """Make the email due now; False if it changed meanwhile."""
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

    async def resolve(self, email_id: str, outcome: Resolution) -> Email:
        """Record what the operator has found out about a doubtful email.

        Raises `WrongState` for any other email, and for a caller who is no operator.
        """
        if self._principal.role is not Role.OPERATOR:
            raise WrongState("Only the operator says what became of a doubtful email.", "Ask the operator.")
        while True:
            email = await self.get(email_id)
            change = plan_resolution(email, outcome, actor=self._principal.actor, now=self._clock.now())
            if await self._store.record(email.id, change, self._principal.scope, version=email.version):
                return await self.get(email_id)

    async def wait_for_outcome(self, email: Email, *, max_wait: float) -> Email:
        """Wait up to `max_wait` seconds for the email's outcome; return the email as it is then."""
        if email.status not in UNSETTLED or max_wait <= 0:
            return email
        await self._outcomes.wait(email.id, max_wait=max_wait)
        # The email is accepted: an unavailable database must neither fail nor delay this answer.
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_FINAL_READ_SECONDS):
                return await self._store.get(email.id, self._principal.scope) or email
        return email

    async def wait_for_outcomes(
        self, emails: Sequence[Email], *, max_wait: float, on_settled: Callable[[int], Awaitable[None]]
    ) -> Sequence[Email]:
        """Wait like `wait_for_outcome` for several emails.

        Calls `on_settled` with the number of outcomes at the start and whenever it grows.
        """
        waiting = [email.id for email in emails if email.status in UNSETTLED] if max_wait > 0 else []
        if not waiting:
            return emails
        done = len(emails) - len(waiting)
        await on_settled(done)
        outcomes = [asyncio.create_task(self._outcomes.wait(email_id, max_wait=max_wait)) for email_id in waiting]
        try:
            for outcome in asyncio.as_completed(outcomes):
                if await outcome:
                    done += 1
                    await on_settled(done)
        finally:
            for task in outcomes:
                task.cancel()  # stop waiting
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_FINAL_READ_SECONDS):
                now = {email.id: email for email in await self._store.get_all(waiting, self._principal.scope)}
                return [now.get(email.id, email) for email in emails]
        return emails

    def _event(self, email: Email, code: str, *, at: datetime, detail: str = "") -> Event:
        return Event(at=at, status=email.status, code=code, detail=detail, actor=self._principal.actor)


async def _as_list(storing: Awaitable[Email]) -> list[Email]:
    return [await storing]


def _not_found(email_id: str) -> NotFound:
    return NotFound(f"There is no email {brief(email_id)}.", "Use list_emails to find its id.")
