"""Accept, show, change, cancel and retry emails: what every face calls. Never delivers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Unpack
from uuid import UUID

from outspool.domain.attachment import Attachment
from outspool.domain.email import Content, Email, Event, Problem, Recipient
from outspool.domain.policy import Policy
from outspool.domain.schedule import When
from outspool.domain.status import CLAIMABLE, UNSETTLED, WAITING, EmailStatus, RecipientStatus
from outspool.domain.summary import Pause
from outspool.domain.transition import Transition
from outspool.errors import (
    InvalidArgument,
    InvalidSchedule,
    NotConfigured,
    NotFound,
    Refusal,
    StoreUnavailable,
    TemplateError,
    TooLarge,
    WrongState,
    brief,
)
from outspool.ports import Account, AccountState, Changes, Clock, EmailStore
from outspool.services import series
from outspool.services.attachments import AttachmentDraft, Attachments
from outspool.services.composer import alternatives, drawn_up, new_message_id
from outspool.services.email_news import next_version
from outspool.services.intake import Draft, check_idempotency_key, fingerprint, read_draft, revise_content
from outspool.services.listing import Filters, Listing, read_email_id, read_search, write_cursor
from outspool.services.templates import TemplateCard, Templates
from outspool.services.waiting_room import WaitingRoom

logger = logging.getLogger(__name__)

_RETRIABLE = frozenset({EmailStatus.FAILED, EmailStatus.PARTIAL, EmailStatus.UNKNOWN})

MOST_AT_ONCE = 100
"""So many emails are accepted together at most."""

_LAST_LOOK_SECONDS = 1.0
"""How much longer than asked a caller may wait, to learn how the email stands in the end."""

_A_MOMENT_SECONDS = 0.25
"""For so long the account's state is not read again for every answer."""


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
        self._waiting_room = WaitingRoom(store, changes)
        self._attachments = attachments
        self._templates = templates
        self._terms = terms
        self._new_id = new_id
        self._clock = clock
        self._seen: tuple[float, AccountState] | None = None

    def now(self) -> datetime:
        """Return the server's time, UTC."""
        return self._clock.now()

    async def account(self) -> AccountState:
        """Return how the SMTP account fares."""
        return await self._account.state()

    async def pause(self, email: Email | None = None) -> Pause | None:
        """Return why and until when the account rests, None if it does not, or if `email` does not wait for it.

        It only colours the answer about an email that is accepted already, so no trouble here may hide that answer,
        and what was read a moment ago is good enough, but for what the account has just kept from leaving.
        """
        if email is not None and email.status not in CLAIMABLE:
            return None
        try:
            is_news = email is not None and email.status is EmailStatus.DEFERRED
            account = await (self._account.state() if is_news else self._state_lately())
        except Exception:
            logger.warning("could not read the state of the SMTP account", exc_info=True)
            return None
        if account.paused_until is None or not account.is_paused(self._clock.now()):
            return None
        return Pause(until=account.paused_until, reason=account.message)

    async def _state_lately(self) -> AccountState:
        now = time.monotonic()
        if self._seen is None or now > self._seen[0] + _A_MOMENT_SECONDS:
            self._seen = now, await self._account.state()
        return self._seen[1]

    async def accept(self, draft: Draft, *, when: When | None = None, idempotency_key: str | None = None) -> Email:
        """Check and commit an email: due now (`when` None), or at `when`. What is returned survives any crash.

        A second call with the same key and payload returns the first call's email. The files are stored first, so that
        the email never has one that is not there.
        """
        self._require_account()
        async with self._attachments.gathered(draft.attachments) as files:
            email = await self._asked(draft, when, idempotency_key, files.attachments)
            await files.store()
            return await self._store.add(email, _accepted(email))

    async def accept_all(self, asked: Sequence[tuple[Draft, str | None]]) -> Sequence[Email]:
        """Check and commit emails that are due now, each with an idempotency key or None: all of them, or none.

        Returns an email for each, in their order, as `accept` would. A `Refusal` names the first that is at fault.
        """
        self._require_account()
        if not 1 <= len(asked) <= MOST_AT_ONCE:
            raise InvalidArgument(f"emails holds {len(asked)}; it takes 1 to {MOST_AT_ONCE}.", "Nothing was sent.")
        files: dict[tuple[AttachmentDraft, ...], tuple[Attachment, ...]] = {}
        emails = []
        for place, (draft, key) in enumerate(asked):
            await asyncio.sleep(0)  # each is composed once; other callers get their turn
            with _named_by(place):
                attachments = await self._looked_at(tuple(draft.attachments), files)
                emails.append(await self._asked(draft, None, key, attachments))
        for drafts, attachments in files.items():
            await self._attachments.store_seen(drafts, attachments)
        return await self._store.add_all([(email, _accepted(email)) for email in emails])

    async def _looked_at(
        self, drafts: tuple[AttachmentDraft, ...], known: dict[tuple[AttachmentDraft, ...], tuple[Attachment, ...]]
    ) -> tuple[Attachment, ...]:
        """Return what these files are; of a hundred emails that share theirs, they are read for the first alone."""
        if drafts not in known:
            async with self._attachments.gathered(drafts) as files:
                known[drafts] = files.attachments
        return known[drafts]

    def _require_account(self) -> None:
        if self._terms.refusal is not None:
            raise self._terms.refusal

    async def _asked(
        self, draft: Draft, when: When | None, idempotency_key: str | None, attachments: tuple[Attachment, ...]
    ) -> Email:
        """Return the email that is asked for, checked: a new one, or the one that the same call made before."""
        key = None if idempotency_key is None else check_idempotency_key(idempotency_key)
        try:
            email = await self._new_email(draft, when, key, attachments)
        except (InvalidSchedule, TemplateError):
            # The same call made again, after its time has come or its template has changed, must find its email and
            # not send another.
            if key is not None and (known := await self._known(draft, when, key, attachments)) is not None:
                return known
            raise
        await self._check_size(email)
        return email

    async def preview(self, draft: Draft, *, when: When | None = None) -> Preview:
        """Return what `accept` would make of the same, and store nothing. It needs no account to be set."""
        async with self._attachments.gathered(draft.attachments) as files:
            email = await self._new_email(draft, when, None, files.attachments)
        text, _ = alternatives(email.content)
        return Preview(email=email, text=text, size=await self._check_size(email))

    async def _known(
        self, draft: Draft, when: When | None, key: str, attachments: tuple[Attachment, ...]
    ) -> Email | None:
        if when is not None and not when.is_given and when.recurrence is None:
            return None
        email = await self._store.by_key(key)
        filled = draft if draft.template is None else replace(draft, template=None, body=draft.template)
        content = replace(read_draft(filled, self._terms.policy), attachments=attachments)
        asked = _fingerprint(content, when, draft)
        return email if email is not None and email.fingerprint == asked else None

    async def _new_email(
        self, draft: Draft, when: When | None, key: str | None, attachments: tuple[Attachment, ...]
    ) -> Email:
        if when is not None and not when.is_given and when.recurrence is None:
            raise InvalidSchedule(
                "Neither scheduled_at nor delay is given.",
                "Give one: scheduled_at 2026-11-23T09:00:00+01:00, delay PT2H, or recurrence. Nothing was scheduled.",
            )
        content = read_draft(await self._templates.written(draft), self._terms.policy)
        content = replace(content, attachments=attachments)
        now = self._clock.now()
        status, scheduled_at, rule = series.planned(when, now=now)
        due_at = scheduled_at or now
        email_id = self._new_id(now)
        return Email(
            id=email_id,
            status=status,
            content=content,
            recipients=_pending(content),
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

    async def _check_size(self, email: Email) -> int:
        """Draw up the message once: what is accepted can be sent, and is small enough. Return its size in bytes."""
        limit = self._terms.policy.max_message_bytes
        size = (await drawn_up(email)).size
        if size > limit:
            raise TooLarge(
                f"The message would be {size / 1e6:.1f} MB as encoded; at most {limit / 1e6:.1f} MB are allowed.",
                "Shorten it, or raise EMAIL_MAX_MESSAGE_MB if your server takes more.",
            )
        return size

    async def list_templates(self) -> list[TemplateCard]:
        """Return what templates there are, by name."""
        return await self._templates.listed()

    async def show_template(self, name: str) -> tuple[TemplateCard, Mapping[str, str]]:
        """Return one template, and the text of its files by their names."""
        return await self._templates.shown(name)

    async def raw(self, email_id: str) -> bytes:
        """Return the very message that goes, or went, on the wire."""
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
        """Change content (`changes` is keyed like `Draft`), time, or both, while the email waits."""
        if not changes and when is None:
            raise InvalidArgument(
                "There is nothing to change.", "Give what shall change, e.g. subject or scheduled_at."
            )
        async with self._attachments.gathered(changes.get("attachments") or ()) as files:
            if "attachments" in changes:
                changes = {**changes, "attachments": files.attachments}
            while True:
                email = await self.get(email_id)
                revised = self._revised(email, changes, when)
                await self._check_size(revised)
                await files.store()
                event = Event(at=self._clock.now(), status=revised.status, code="updated", detail=_named(changes, when))
                if await self._store.revise(revised, event):
                    return await self.get(email_id)

    def _revised(self, email: Email, changes: Mapping[str, Any], when: When | None) -> Email:
        if email.status not in WAITING:
            raise _wrong_state(email, "changed")
        if changes and any(r.status is RecipientStatus.SENT for r in email.recipients):
            raise WrongState(
                "Some recipients already have this email, so its content can no longer change.",
                "Cancel the rest with cancel_email, or send a new email.",
            )
        of_content = {name: value for name, value in changes.items() if name not in series.FIELDS}
        if of_content:
            written = {name: value for name, value in of_content.items() if name != "attachments"}
            content = revise_content(email.content, written, self._terms.policy)
            content = replace(content, attachments=of_content.get("attachments", content.attachments))
            email = replace(email, content=content, recipients=_pending(content))
        if email.recurrence is not None:
            return series.changed(email, changes, when, now=self._clock.now())
        if of_content.keys() != changes.keys():
            raise InvalidArgument(
                "This is a single email: it has no recurrence, until or count, and cannot be paused.",
                "schedule_email makes a series.",
            )
        return email if when is None else self._put_off(email, when)

    def _put_off(self, email: Email, when: When) -> Email:
        at = when.moment(now=self._clock.now())
        status = EmailStatus.SCHEDULED if email.status is EmailStatus.QUEUED else email.status
        return replace(
            email,
            status=status,
            scheduled_at=at,
            due_at=at,
            date=at,
            expires_at=at + self._terms.expire_after,
        )

    async def cancel(self, email_id: str) -> Email:
        """Cancel a waiting email; it is never sent then. If some recipients were served, stop the rest."""
        while True:
            email = await self.get(email_id)
            if email.status is EmailStatus.CANCELED:
                return email
            if email.status not in WAITING:
                raise _wrong_state(email, "canceled")
            change = self._cancellation(email)
            if await self._store.record(email.id, change, version=email.version):
                return await self.get(email_id)

    def _cancellation(self, email: Email) -> Transition:
        now = self._clock.now()
        if not any(r.status is RecipientStatus.SENT for r in email.recipients):
            return Transition.canceled(at=now)
        stopped = tuple(replace(r, status=RecipientStatus.FAILED) if r.is_owed else r for r in email.recipients)
        problem = Problem(code="stopped", message="Canceled for the recipients that did not have it yet.")
        return Transition.stopped(at=now, recipients=stopped, problem=problem)

    async def retry(self, email_id: str) -> Email:
        """Send again to whoever does not have it, if it failed, partly failed or is in doubt.

        What is deferred moves to now; an account that rests still rests.
        """
        while True:
            email = await self.get(email_id)
            if await self._retry(email):
                return await self.get(email_id)

    async def _retry(self, email: Email) -> bool:
        """Make it due now; False when it changed meanwhile."""
        now = self._clock.now()
        if email.status is EmailStatus.DEFERRED:
            event = Event(at=now, status=email.status, code="retried")
            return await self._store.revise(replace(email, due_at=now), event)
        if email.status not in _RETRIABLE:
            raise _wrong_state(email, "retried")
        owed = _owed_again(email)
        change = Transition.retried(at=now, recipients=owed, expires_at=now + self._terms.expire_after)
        return await self._store.record(email.id, change, version=email.version)

    async def settle(self, email: Email, *, within: float) -> Email:
        """Wait up to `within` seconds until something has come of the email; return it as it then is."""
        if email.status not in UNSETTLED or within <= 0:
            return email
        await self._waiting_room.settled(email.id, within=within)
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
        outcomes = [asyncio.create_task(self._waiting_room.settled(one, within=within)) for one in waiting]
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


@contextlib.contextmanager
def _named_by(place: int) -> Iterator[None]:
    """Let a refusal say which email of a batch it is about."""
    try:
        yield
    except Refusal as refusal:
        refusal.message = f"emails[{place}]: {refusal.message}"
        raise


def _not_found(email_id: str) -> NotFound:
    return NotFound(f"There is no email {brief(email_id)}.", "Use list_emails to find its id.")


def _fingerprint(content: Content, when: When | None, draft: Draft) -> str:
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


def _pending(content: Content) -> tuple[Recipient, ...]:
    return tuple(Recipient(kind=kind, mailbox=mailbox) for kind, mailbox in content.addressed())


def _owed_again(email: Email) -> tuple[Recipient, ...]:
    return tuple(
        r if r.status is RecipientStatus.SENT else replace(r, status=RecipientStatus.PENDING) for r in email.recipients
    )


def _named(changes: Mapping[str, Any], when: When | None) -> str:
    names = [*changes, *(["scheduled_at"] if when is not None else [])]
    return ", ".join(names)


_WHY_NOT = {
    EmailStatus.SENDING: "is being sent right now",
    EmailStatus.SENT: "was already sent",
    EmailStatus.PARTIAL: "was already sent to some of its recipients",
    EmailStatus.CANCELED: "was canceled",
    EmailStatus.FAILED: "has failed for good",
    EmailStatus.UNKNOWN: "may already have been sent",
    EmailStatus.BOUNCED: "has bounced",
    EmailStatus.QUEUED: "is about to be sent by itself",
    EmailStatus.SCHEDULED: "waits for its time",
    EmailStatus.HELD: "waits for a person's approval",
    EmailStatus.RECURRING: "is a series, which makes emails of its own",
    EmailStatus.PAUSED: "is a series, which is paused",
    EmailStatus.ENDED: "is a series that has ended",
}


def _wrong_state(email: Email, verb: str) -> Refusal:
    return WrongState(
        f"This email {_WHY_NOT[email.status]} (status {email.status}), so it cannot be {verb}.",
        "Use get_status to see where it stands.",
    )
