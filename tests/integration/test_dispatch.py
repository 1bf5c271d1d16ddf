"""Accept, claim, deliver, record: end to end, on a real SMTP server and both databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.smtp_sink import SmtpSink

from outspool.adapters.system_clock import SystemClock
from outspool.app.runtime import Outspool
from outspool.domain.email import Email, Event
from outspool.domain.principal import Scope
from outspool.domain.schedule import When
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.errors import InvalidArgument, InvalidSchedule, WrongState
from outspool.ports.account import AccountState
from outspool.ports.files import BlobStore
from outspool.ports.transport import Stream
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.message_stream import open_message

S, R = EmailStatus, RecipientStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


class AnHourLater(SystemClock):
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


def draft(*to: str, **more: object) -> EmailRequest:
    return EmailRequest(to=to or ("ann@example.com",), subject="Hello", body="Hi.\n", **more)  # type: ignore[arg-type]


async def send(app: Outspool, *to: str, max_wait: float = 20, **more: object) -> Email:
    return await app.outbox.wait_for_outcome(await app.outbox.accept(draft(*to, **more)), max_wait=max_wait)


async def until(app: Outspool, email: Email, *statuses: EmailStatus, max_wait: float = 20) -> Email:
    async with asyncio.timeout(max_wait):
        while (now := await app.outbox.get(str(email.id))).status not in statuses:
            await asyncio.sleep(0.02)
    return now


async def test_an_accepted_email_is_sent_at_once(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool() as app:
        email = await send(app, "ann@example.com")
    assert email.status is S.SENT
    assert [event.code for event in email.events] == ["accepted", "claimed", "sent"]
    (mail,) = sink.messages()
    assert (mail.envelope_from, mail.recipients) == ("me@example.com", ("ann@example.com",))
    assert mail.message_id == email.message_id


async def test_each_recipient_has_its_own_outcome(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool() as app:
        email = await send(app, "ann@example.com", "refuse-bob@example.com")
        assert email.status is S.PARTIAL
        assert [r.status for r in email.recipients] == [R.SENT, R.FAILED]
        assert email.problem is not None
        assert "550" in email.problem.message
        retried = await app.outbox.wait_for_outcome(await app.outbox.retry(str(email.id)), max_wait=20)
        assert retried.status is S.PARTIAL
    assert [mail.recipients for mail in sink.messages()] == [("ann@example.com",)]


async def test_only_those_still_owed_are_tried_again_and_under_the_same_message_id(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as app:
        email = await send(app, "ann@example.com", "once-bob@example.com")
        assert email.status is S.DEFERRED
        assert email.attempts == 1
        await app.outbox.retry(str(email.id))  # now, not in a minute
        email = await until(app, email, S.SENT)
    assert [mail.recipients for mail in sink.messages()] == [("ann@example.com",), ("once-bob@example.com",)]
    assert {mail.message_id for mail in sink.messages()} == {email.message_id}


async def test_a_line_that_drops_after_the_message_leaves_a_doubt_and_no_second_copy(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as app:
        email = await send(app, "takedrop-ann@example.com")
        assert email.status is S.UNKNOWN
        assert [r.status for r in email.recipients] == [R.UNKNOWN]
        with pytest.raises(WrongState, match="may already have been sent"):
            await app.outbox.cancel(str(email.id))
        assert len(sink.messages()) == 1
        await app.outbox.retry(str(email.id))
        await until(app, email, S.UNKNOWN)
    assert len(sink.messages()) == 2


async def test_an_outage_burns_no_attempt_and_all_leave_when_it_ends(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool() as app:
        sink.stop()
        emails = [await send(app, f"r{n}@example.com") for n in range(6)]
        assert {email.status for email in emails} == {S.DEFERRED}
        assert {email.attempts for email in emails} == {0}
        assert {email.problem.code for email in emails if email.problem} == {"account_trouble"}
        assert (await app.outbox.account()).paused_until is not None
        sink.start()
        for email in emails:
            assert (await until(app, email, S.SENT, max_wait=30)).attempts == 1
        assert (await app.outbox.account()).failures == 0
    assert Counter(mail.recipients[0] for mail in sink.messages()) == {f"r{n}@example.com": 1 for n in range(6)}


async def test_what_waits_out_an_outage_survives_a_restart(outspool: OpenOutspool, sink: SmtpSink) -> None:
    sink.stop()
    async with outspool() as app:
        email = await send(app)
        assert email.status is S.DEFERRED
    sink.start()
    async with outspool() as app:
        await until(app, email, S.SENT)
    assert len(sink.messages()) == 1


async def test_a_scheduled_email_leaves_on_time(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool() as app:
        email = await app.outbox.accept(draft(), when=When(delay="PT1.5S"))
        assert email.status is S.SCHEDULED
        await until(app, email, S.SENT)
    (mail,) = sink.messages()
    late = (mail.at - email.due_at).total_seconds()
    assert 0 <= late < 2  # long before the next poll


async def test_what_one_process_schedules_another_sends_on_time(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(worker=False) as client, outspool() as worker:
        await worker.outbox.find()
        email = await client.outbox.accept(draft(), when=When(delay="PT1S"))
        email = await until(client, email, S.SENT)
        now = await client.outbox.wait_for_outcome(await client.outbox.accept(draft()), max_wait=20)
        assert now.status is S.SENT
    assert 0 <= (sink.messages()[0].at - email.due_at).total_seconds() < 2


async def test_a_stop_lets_what_is_on_the_wire_end_and_hands_back_the_rest(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool(SMTP_CONNECTIONS=1) as app:
        emails = [await app.outbox.accept(draft(f"slow-{n}@example.com")) for n in range(3)]
        await until(app, emails[0], S.SENDING)
        await asyncio.sleep(0.2)  # the first is on the wire
    async with outspool(worker=False) as app:
        after = [await app.outbox.get(str(email.id)) for email in emails]
    assert [email.status for email in after] == [S.SENT, S.QUEUED, S.QUEUED]
    assert len(sink.messages()) == 1


async def test_a_stop_hands_back_at_once_what_waits_for_a_connection(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(SMTP_CONNECTIONS=1, worker=False) as client:
        emails = [await client.outbox.accept(draft("stall-ann@example.com")) for _ in range(6)]
        async with outspool(SMTP_CONNECTIONS=1):
            await until(client, emails[1], S.SENDING)
        after = [(await client.outbox.get(str(email.id))).status for email in emails]
    assert S.SENDING not in after
    assert after.count(S.QUEUED) >= 5


async def test_a_trial_that_never_reaches_the_server_makes_room_for_the_next(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool(worker=False) as client:
        old = await client.outbox.accept(draft())
        late = replace(old, expires_at=old.created_at)
        assert await client.store.revise(
            late, Event(at=old.created_at, status=S.QUEUED, code="updated"), Scope.everything()
        )
        state = AccountState(paused_until=old.created_at, failures=3, kind="network", message="refused")
        await client.account.swap(AccountState(), state)
        email = await client.outbox.accept(draft("bob@example.com"))
        async with outspool():
            await until(client, email, S.SENT, max_wait=15)
        assert (await client.outbox.get(str(old.id))).status is S.FAILED


async def test_a_fault_of_ours_in_composing_costs_an_attempt_and_not_the_worker(
    outspool: OpenOutspool, sink: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def broken(email: Email, blobs: BlobStore) -> AsyncIterator[bytes | Stream]:
        if email.content.subject == "broken":
            raise ZeroDivisionError
        async with open_message(email, blobs) as message:
            yield message

    monkeypatch.setattr("outspool.app.runtime.open_message", broken)
    async with outspool() as app:
        bad = await app.outbox.accept(EmailRequest(to=["ann@example.com"], subject="broken", body="x"))
        assert (await until(app, bad, S.DEFERRED)).attempts == 1
        assert (await send(app)).status is S.SENT


async def test_the_same_key_sends_once_and_another_payload_is_refused(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool() as app:
        first = await app.outbox.accept(draft(), idempotency_key="k")
        again = await app.outbox.accept(draft(), idempotency_key="k")
        assert again.id == first.id
        await until(app, first, S.SENT)
    assert len(sink.messages()) == 1


async def test_a_scheduled_call_made_again_after_its_time_finds_its_email(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as app:
        at = app.clock.now().isoformat()
        first = await app.outbox.accept(draft(), when=When(scheduled_at=at), idempotency_key="k")
        await until(app, first, S.SENT)
    async with outspool(clock=AnHourLater()) as app:
        again = await app.outbox.accept(draft(), when=When(scheduled_at=at), idempotency_key="k")
    assert again.id == first.id
    assert len(sink.messages()) == 1


async def test_content_and_time_change_while_an_email_waits_and_not_after(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as app:
        email = await app.outbox.accept(draft(), when=When(delay="PT1H"))
        changed = await app.outbox.update(
            str(email.id), {"subject": "New", "to": ["bob@example.com"]}, when=When(delay="PT0.5S")
        )
        assert changed.message_id == email.message_id
        await until(app, email, S.SENT)
        with pytest.raises(WrongState, match="was already sent"):
            await app.outbox.update(str(email.id), {"subject": "Newer"})
    (mail,) = sink.messages()
    assert mail.recipients == ("bob@example.com",)
    assert mail.parsed["Subject"] == "New"


async def test_a_schedule_without_a_time_is_refused_rather_than_sent_now(outspool: OpenOutspool) -> None:
    async with outspool() as app:
        for when in (When(), When(timezone="Europe/Berlin")):
            with pytest.raises(InvalidSchedule, match="Neither scheduled_at nor delay"):
                await app.outbox.accept(draft(), when=when)
        assert (await app.outbox.find()).counts == {}


async def test_an_update_of_nothing_is_refused(outspool: OpenOutspool) -> None:
    async with outspool() as app:
        email = await app.outbox.accept(draft(), when=When(delay="PT1H"))
        with pytest.raises(InvalidArgument, match="nothing to change"):
            await app.outbox.update(str(email.id), {})


async def test_canceling_after_some_were_served_stops_the_rest_and_denies_nothing(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as app:
        email = await send(app, "ann@example.com", "defer-bob@example.com")
        assert email.status is S.DEFERRED
        with pytest.raises(WrongState, match="already have this email"):
            await app.outbox.update(str(email.id), {"subject": "x"})
        stopped = await app.outbox.cancel(str(email.id))
    assert stopped.status is S.PARTIAL
    assert [r.status for r in stopped.recipients] == [R.SENT, R.FAILED]
    assert len(sink.messages()) == 1


async def test_nobodys_mail_leaves_through_somebody_elses_account(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(EMAIL_FROM="al@example.com") as al, outspool(EMAIL_FROM="bea@example.com", worker=False) as bea:
        als = await send(al)
        beas = await bea.outbox.accept(draft())
        await send(al, "again@example.com")
        assert (await bea.outbox.get(str(beas.id))).status is S.QUEUED
    async with outspool(EMAIL_FROM="Bea <bea@example.com>") as bea:
        await until(bea, beas, S.SENT)
    assert als.status is S.SENT
    assert Counter(mail.envelope_from for mail in sink.messages()) == {"al@example.com": 2, "bea@example.com": 1}


async def test_a_hundred_callers_wait_as_cheaply_as_one(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool() as app:
        emails = await asyncio.gather(*(send(app, f"r{n}@example.com", max_wait=60) for n in range(100)))
        # A machine under load may answer before its last look at the database, as if nothing had come of it.
        emails = [await app.outbox.get(str(email.id)) for email in emails]
    assert {email.status for email in emails} == {S.SENT}
    assert len(sink.messages()) == 100


async def test_a_caller_gets_an_answer_in_time_though_nothing_has_come_of_it(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as app, asyncio.timeout(8):
        email = await send(app, "stall-ann@example.com", max_wait=0.5)
    assert email.status in (S.QUEUED, S.SENDING)


async def test_two_dispatchers_send_500_emails_once_each(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(worker=False) as client:
        for n in range(500):
            await client.outbox.accept(draft(f"r{n}@example.com"))
        async with outspool(), outspool():
            await sink.wait_for(500, timeout=90)
            await asyncio.sleep(0.5)  # a second copy would come now
        counts = (await client.outbox.find()).counts
    assert Counter(mail.recipients[0] for mail in sink.messages()) == {f"r{n}@example.com": 1 for n in range(500)}
    assert counts == {S.SENT: 500}
