"""Sample emails, and the parts of a store around one database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from outspool.adapters.sql.account import SqlAccount
from outspool.adapters.sql.queue import SqlQueue
from outspool.adapters.sql.schema import MigratedDatabase
from outspool.adapters.sql.series import SqlSeries
from outspool.adapters.sql.status_writer import StatusWriter
from outspool.adapters.sql.store import SqlEmailStore
from outspool.adapters.sql.watch import ChangeWatch
from outspool.adapters.uuid7 import least_id
from outspool.domain.cap import HOUR, Cap
from outspool.domain.email import Content, Email, Event, Mailbox, Recipient, Reply
from outspool.domain.outlook import Pause
from outspool.domain.principal import LOCAL_USER, Scope
from outspool.domain.recurrence import Recurrence
from outspool.domain.series import Series
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.ports.queue import Lease
from outspool.services.acceptance.outbox import Outbox

EVERYTHING = Scope.everything()
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OK = Reply(code=250, enhanced_code="2.0.0", text="ok")


_accepted = count()
"""So that emails of one instant come in the order in which they were made."""

UNLIMITED = Cap(most=10**9, window=HOUR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """One process's view of a database."""

    database: MigratedDatabase
    changes: ChangeWatch
    store: SqlEmailStore
    queue: SqlQueue
    account: SqlAccount
    series: SqlSeries
    identity: str
    owner: str

    @property
    def scope(self) -> Scope:
        """What an agent of this owner sees."""
        return Scope(owner=self.owner, identities=frozenset({self.identity}))

    async def accept(self, email: Email) -> Email:
        """Store an email of this identity and owner, with the event of its acceptance."""
        email = replace(email, identity=self.identity, owner=self.owner)
        return await self.store.add(email, Event(at=email.created_at, status=email.status, code="accepted"))

    async def record(self, email_id: UUID, change: Transition, **guard: Any) -> Email | None:
        """Record a transition, and return the email as it then is; None when the guard refused."""
        return (
            await self.store.get(email_id, EVERYTHING)
            if await self.store.record(email_id, change, EVERYTHING, **guard)
            else None
        )

    async def revise(self, email: Email, event: Event) -> Email | None:
        """Revise an email, and return it as it then is; None when it was too late."""
        return await self.store.get(email.id, EVERYTHING) if await self.store.revise(email, event, EVERYTHING) else None

    async def claim(self, *, at: datetime = NOW, limit: int = 10, lease: Lease | None = None) -> list[Email]:
        """Claim what is due, for a lease of 30 s unless another is given."""
        return list(await self.queue.claim_due(lease or a_lease(at), now=at, limit=limit, deferred_too=True))


@asynccontextmanager
async def outlet(
    url: str, *, identity: str = "smtp", owner: str = LOCAL_USER, rate: Cap = UNLIMITED, quota: Cap | None = None
) -> AsyncIterator[Outlet]:
    """Open a database as one more process would."""
    database = MigratedDatabase(url)
    changes = ChangeWatch(database)
    status_writer = StatusWriter(database, changes, meter="handed over test", quota=quota)
    try:
        yield Outlet(
            database=database,
            changes=changes,
            store=SqlEmailStore(database, changes, status_writer, rate=rate),
            queue=SqlQueue(database, changes, status_writer, identity=identity),
            account=SqlAccount(database, changes, name="test"),
            series=SqlSeries(database, changes, rate=rate),
            identity=identity,
            owner=owner,
        )
    finally:
        await changes.close()
        await database.close()


def a_lease(at: datetime = NOW, *, seconds: float = 30) -> Lease:
    """Return a new lease."""
    return Lease(token=uuid4(), until=at + timedelta(seconds=seconds))


def an_email(*to: str, at: datetime = NOW, due: datetime | None = None, **changes: Any) -> Email:
    """Return an email to these addresses that was accepted at `at`; `changes` go to its content or to itself."""
    of_content = {name: value for name, value in changes.items() if name in Content.__dataclass_fields__}
    of_email = {name: value for name, value in changes.items() if name not in of_content}
    mailboxes = tuple(Mailbox(address=address) for address in to or ("ann@example.com",))
    content = replace(
        Content(sender=Mailbox(address="me@example.com", name="Me"), to=mailboxes, subject="Hello", body="Hi.\n"),
        **of_content,
    )
    email_id = UUID(int=least_id(at).int | next(_accepted))
    email = Email(
        id=email_id,
        status=EmailStatus.SCHEDULED if due else EmailStatus.QUEUED,
        content=content,
        recipients=tuple(Recipient(kind=kind, mailbox=mailbox) for kind, mailbox in content.list_recipients()),
        message_id=f"<{email_id.hex}@example.com>",
        date=due or at,
        created_at=at,
        due_at=due or at,
        expires_at=(due or at) + timedelta(hours=120),
        scheduled_at=due,
        fingerprint="f" * 64,
        identity="smtp",
    )
    return replace(email, **of_email)


def a_series(*to: str, rule: Recurrence, **changes: Any) -> Series:
    """Return a series with this rule; see `an_email`."""
    email = an_email(*to, status=EmailStatus.RECURRING, **changes)
    return Series(**{part.name: getattr(email, part.name) for part in fields(email)}, recurrence=rule)


def as_sent(email: Email, *, at: datetime = NOW) -> Transition:
    """Return the transition of an email that every server took."""
    taken = tuple(replace(r, status=RecipientStatus.SENT, reply=OK) for r in email.recipients)
    return Transition.sent(at=at, recipients=taken, attempts=email.attempts + 1, detail=str(OK))


async def read_pause(outbox: Outbox) -> Pause | None:
    """Return the pause of the account, as the caller of a waiting email is told of it."""
    return (await outbox.outlook(an_email())).pause
