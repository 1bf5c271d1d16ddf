"""Every hot query uses an index however much old mail there is, by the planner's own word."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support.outbox_samples import EVERYTHING, NOW, Outlet, a_lease, a_series, an_email, as_sent, outlet

from outspool.adapters.sql.rows import email_values, event_values, recipient_values
from outspool.adapters.sql.tables import emails, events, recipients, tags
from outspool.domain.email import Email, Event, Mailbox
from outspool.domain.recurrence import Recurrence
from outspool.domain.status import EmailStatus
from outspool.ports.emails import Search

OLD_MAIL = 4000
GROWING = "|".join(table.name for table in (emails, recipients, events, tags))
WHOLE_TABLE = {
    "postgres": re.compile(rf"Seq Scan on ({GROWING})\b"),
    # The partial indexes hold what waits or is under way alone, so to walk along them is what they are for.
    "sqlite": re.compile(rf"SCAN ({GROWING})\b(?! USING (COVERING )?INDEX emails_(in_lane|expiring|leased|recurring))"),
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def old_box(database_url: str) -> AsyncIterator[Outlet]:
    """Return a database full of mail that was sent, failed or is planned, with statistics for the planner."""
    async with outlet(database_url) as box:
        await box.accept(an_email(due=NOW + timedelta(days=9)))  # brings the schema
        await box.database.write(_fill)
        yield box


@pytest.fixture
async def box_without_statistics(old_box: Outlet) -> Outlet:
    """Return the same as SQLite has it, where nobody ever asks for statistics; Postgres gathers them itself."""
    if not old_box.database.is_postgres:
        await old_box.database.write(lambda connection: connection.execute(sa.text("DROP TABLE sqlite_stat1")))
        await old_box.database.backend.close()  # the next connection knows of none
    return old_box


LONG_EXPIRED = (
    emails.update()
    .where(emails.c.status == EmailStatus.SCHEDULED.value)
    .values(due_at=NOW - timedelta(days=9), expires_at=NOW - timedelta(days=4), lane="somebody else's")
)


def _fill(connection: sa.Connection) -> None:
    old = [_old_email(number) for number in range(OLD_MAIL)]
    connection.execute(emails.insert(), [email_values(email) for email in old])
    addressed = [row for email in old for row in recipient_values(email.id, email.recipients)]
    connection.execute(recipients.insert(), addressed)
    accepted = [Event(at=email.created_at, status=email.status, code="accepted") for email in old]
    connection.execute(events.insert(), [event_values(e.id, event) for e, event in zip(old, accepted, strict=True)])
    connection.execute(tags.insert(), [{"tag": f"tag{n % 40}", "email_id": e.id} for n, e in enumerate(old)])
    connection.execute(sa.text("ANALYZE"))


def _old_email(number: int) -> Email:
    at = NOW - timedelta(minutes=OLD_MAIL - number)
    status = {0: EmailStatus.FAILED, 1: EmailStatus.SCHEDULED}.get(number % 100, EmailStatus.SENT)
    email = an_email(
        f"user{number % 500}@example.com", at=at, subject=f"Order {number}", idempotency_key=f"order-{number}"
    )
    due = NOW + timedelta(days=9) if status is EmailStatus.SCHEDULED else at
    return replace(email, status=status, due_at=due, expires_at=due + timedelta(days=5))


@contextmanager
def plans() -> Iterator[list[str]]:
    """Collect the plan of every statement, as the database makes it for the very parameters, until the block ends."""
    found: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: Any, *more: Any) -> None:
        is_many = more[-1]
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            ask = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
            rows = connection.exec_driver_sql(f"{ask} {statement}", parameters[0] if is_many else parameters)
            found.append("\n".join(str(row[-1]) for row in rows))

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", explain)


async def _due_now(box: Outlet, count: int = 3) -> list[Email]:
    return [await box.accept(an_email(at=NOW - timedelta(seconds=1))) for _ in range(count)]


async def claim(box: Outlet) -> None:
    await _due_now(box)
    assert len(await box.claim()) >= 3


async def mark(box: Outlet) -> None:
    await _due_now(box)
    lease = a_lease()
    [email, *_] = await box.claim(lease=lease)
    assert await box.queue.mark(email.id, lease, at=NOW, recipients=1)


async def record(box: Outlet) -> None:
    await _due_now(box)
    lease = a_lease()
    [email, *_] = await box.claim(lease=lease)
    assert await box.store.record(email.id, as_sent(email), EVERYTHING, lease=lease.token)


async def next_due(box: Outlet) -> None:
    assert await box.queue.next_due(after=NOW, deferred_too=True) == NOW + timedelta(days=9)


async def heartbeat(box: Outlet) -> None:
    await _due_now(box)
    lease = a_lease()
    await box.claim(lease=lease)
    await box.queue.heartbeat([lease.token, uuid4()], until=NOW + timedelta(minutes=1), worker="w", at=NOW)


async def rescue(box: Outlet) -> None:
    await _due_now(box)
    await box.claim()
    assert await box.queue.rescue(now=NOW + timedelta(hours=1), resend_marked=False) >= 3


async def get_status(box: Outlet) -> None:
    [email] = await _due_now(box, 1)
    assert await box.store.get(email.id, EVERYTHING)


async def find_by_ending(box: Outlet) -> None:
    [email] = await _due_now(box, 1)
    assert await box.store.find_by_ending(email.id.hex[-8:], EVERYTHING, limit=5)


async def settled(box: Outlet) -> None:
    mine = await _due_now(box)
    assert not await box.store.find_settled([email.id for email in mine], EVERYTHING)


async def by_key(box: Outlet) -> None:
    assert await box.store.by_key("order-7", box.scope)


async def add_under_a_known_key(box: Outlet) -> None:
    known = an_email("user7@example.com", subject="Order 7", idempotency_key="order-7")
    await box.accept(known)


async def update(box: Outlet) -> None:
    [email] = await _due_now(box, 1)
    event = Event(at=NOW, status=email.status, code="updated")
    to = replace(email.content, to=(Mailbox(address="eve@example.com"),))
    assert await box.revise(replace(email, content=to), event)


async def make_of_a_series(box: Outlet) -> None:
    rule = Recurrence(cron="0 9 * * *", timezone="UTC")
    series = a_series(due=NOW, rule=rule)
    await box.accept(series)
    assert await box.series.list_upcoming(box.scope, limit=10)
    made = replace(an_email(at=NOW), series_id=series.id, occurs_at=NOW)
    assert await box.series.advance(series, made, Event(at=NOW, status=made.status, code="accepted"))
    assert (await box.store.find(Search(series=series.id), EVERYTHING)).emails


def find(**search: Any) -> Callable[[Outlet], Awaitable[None]]:
    """Return a look at a page that must hold something."""

    async def look(box: Outlet) -> None:
        assert (await box.store.find(Search(**search), EVERYTHING)).emails

    return look


HOT: dict[str, Callable[[Outlet], Awaitable[None]]] = {
    "claim": claim,
    "mark": mark,
    "record": record,
    "next_due": next_due,
    "heartbeat": heartbeat,
    "rescue": rescue,
    "get_status": get_status,
    "get by the end of an id": find_by_ending,
    "wait": settled,
    "by_key": by_key,
    "add under a known key": add_under_a_known_key,
    "make an email of a series, and list what it made": make_of_a_series,
    "list by status": find(status=EmailStatus.FAILED),
    "list by recipient": find(recipient="USER7@example.com"),
    "list by tag": find(tag="tag7"),
}


async def test_no_hot_query_reads_a_whole_table(old_box: Outlet) -> None:
    kind = "postgres" if old_box.database.is_postgres else "sqlite"
    offenders = {}
    for name, operation in HOT.items():
        with plans() as found:
            await operation(old_box)
        assert any("index" in plan.lower() for plan in found), (name, found)
        if whole := [plan for plan in found if WHOLE_TABLE[kind].search(plan)]:
            offenders[name] = whole
    assert not offenders


async def test_an_update_reads_no_whole_table(old_box: Outlet) -> None:
    kind = "postgres" if old_box.database.is_postgres else "sqlite"
    with plans() as found:
        await update(old_box)
    assert not [plan for plan in found if WHOLE_TABLE[kind].search(plan)]


@pytest.mark.parametrize("deferred_too", [True, False])
async def test_what_is_due_and_what_comes_next_are_ranges_of_the_index_of_each_priority(
    box_without_statistics: Outlet, deferred_too: bool
) -> None:
    """Of its own lane: what is due in others, however much, is never stepped over."""
    box = box_without_statistics
    literal = r"(?:\d|'\d'::smallint)"
    ranges = (
        rf"lane = [^)]+\) AND \(rank = {literal}\) AND \(due_at"
        if box.database.is_postgres
        else r"emails_in_lane \(lane=\? AND rank=\? AND due_at[<>]\?\)"
    )
    with plans() as found:
        await box.queue.claim_due(a_lease(), now=NOW, limit=10, deferred_too=deferred_too)
        await box.queue.next_due(after=NOW, deferred_too=deferred_too)
    assert len([plan for plan in found if len(re.findall(ranges, plan)) == 3]) == 2, found


async def test_what_is_out_of_time_is_read_in_the_order_of_the_index_of_each_status(
    box_without_statistics: Outlet,
) -> None:
    """However much it is, a claim reads no more of it than it takes."""
    box = box_without_statistics
    await box.database.write(lambda connection: connection.execute(LONG_EXPIRED))
    range_ = (
        r"status\)::text = '\w+'::text\) AND \(expires_at <="
        if box.database.is_postgres
        else r"emails_expiring \(status=\? AND expires_at<\?\)"
    )
    with plans() as found:
        assert len(await box.claim(limit=3)) == 3
    [plan] = [plan for plan in found if "expires_at" in plan]
    assert len(re.findall(range_, plan)) == 3
    assert len(re.findall(r"Sort Key|ORDER BY", plan)) == 1, plan  # of what was taken of each, by turn


async def test_a_page_is_read_in_the_order_of_the_ids_and_not_sorted(old_box: Outlet) -> None:
    page = await old_box.store.find(Search(limit=20), EVERYTHING)
    with plans() as found:
        await find(limit=20)(old_box)
        await find(limit=20, before_id=page.emails[-1].id)(old_box)
    pages = [plan for plan in found if re.search(r"on emails\b|(SCAN|SEARCH) emails\b", plan)]
    assert len(pages) == 2
    assert not [plan for plan in pages if re.search(r"Sort|Seq Scan|TEMP B-TREE", plan)]


async def test_a_plan_that_reads_a_whole_table_would_be_noticed(old_box: Outlet) -> None:
    """The subject has no index, so this one must: it keeps the other tests honest."""
    with plans() as found:
        by_subject = sa.select(emails.c.id).where(emails.c.subject == "Order 3999")
        await old_box.database.read(lambda connection: connection.execute(by_subject).all())
    kind = "postgres" if old_box.database.is_postgres else "sqlite"
    assert any(WHOLE_TABLE[kind].search(plan) for plan in found), found
