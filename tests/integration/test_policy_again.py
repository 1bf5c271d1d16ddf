"""The policy is checked again at delivery and at retry, so that tightening it stops waiting emails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import sqlalchemy as sa
from support.smtp_sink import SmtpSink

from outspool.api.errors import name_variables
from outspool.app.runtime import Outspool
from outspool.domain.email import Email
from outspool.domain.setting import Setting
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.errors import RecipientRefused, SenderRefused
from outspool.services.acceptance.validation import EmailRequest

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


async def accept(app: Outspool, *to: str, **more: str) -> Email:
    return await app.outbox.accept(EmailRequest(to=list(to), body="x", **more))  # type: ignore[arg-type]


async def settled(app: Outspool, email: Email) -> Email:
    return await app.outbox.wait_for_outcome(await app.outbox.get(str(email.id)), max_wait=10)


@pytest.mark.parametrize(
    "stricter",
    [{"EMAIL_DENIED_RECIPIENTS": "@bank.example"}, {"EMAIL_ALLOWED_RECIPIENTS": "@example.com"}],
    ids=["denied", "no longer allowed"],
)
async def test_what_waits_for_a_recipient_that_was_denied_meanwhile_is_not_sent(
    outspool: OpenOutspool, sink: SmtpSink, stricter: dict[str, str]
) -> None:
    async with outspool(worker=False) as loose:
        waiting = await accept(loose, "ceo@bank.example")
        mixed = await accept(loose, "ann@example.com", "cfo@bank.example")
        fine = await accept(loose, "bob@example.com")
        async with outspool(**stricter) as strict:
            failed, partial, sent = [await settled(strict, email) for email in (waiting, mixed, fine)]
            assert (failed.status, partial.status, sent.status) == (S.FAILED, S.PARTIAL, S.SENT)
            for email in (failed, partial):
                assert email.problem is not None
                assert email.problem.code == "recipient_refused"
                assert next(iter(stricter)) in name_variables(email.problem.hint)
                assert "operator" in email.problem.hint
            assert {r.address: r.status for r in partial.recipients} == {
                "ann@example.com": RecipientStatus.SENT,
                "cfo@bank.example": RecipientStatus.FAILED,
            }
            assert failed.attempts == 0, "no server was asked"
            for email in (failed, partial):
                with pytest.raises(RecipientRefused, match=r"bank\.example"):
                    await strict.outbox.retry(str(email.id))
                assert (await strict.outbox.get(str(email.id))).status is email.status
        assert [list(mail.recipients) for mail in sink.messages()] == [["ann@example.com"], ["bob@example.com"]]


async def test_only_an_operators_override_sends_it_all_the_same_and_the_history_says_so(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    denied = {"EMAIL_DENIED_RECIPIENTS": "@bank.example"}
    async with outspool(worker=False) as loose:
        email = await accept(loose, "ceo@bank.example")
    async with outspool(**denied) as strict:
        assert (await settled(strict, email)).status is S.FAILED
        await strict.outbox.retry(str(email.id), override_policy=True)
        assert (await settled(strict, email)).status is S.SENT
        events = (await strict.outbox.get(str(email.id))).events
    assert [event.code for event in events] == [
        *("accepted", "claimed", "recipient_refused", "policy_overridden", "claimed", "sent")
    ]
    assert "operator" in events[3].detail
    assert [list(mail.recipients) for mail in sink.messages()] == [["ceo@bank.example"]]


async def test_an_override_ends_when_the_email_is_changed_or_retried_without(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    denied = {"EMAIL_DENIED_RECIPIENTS": "@bank.example"}
    async with outspool(worker=False) as loose:
        changed, retried = await accept(loose, "ceo@bank.example"), await accept(loose, "cfo@bank.example")
    async with outspool(**denied) as strict:
        for email in (changed, retried):
            assert (await settled(strict, email)).status is S.FAILED
    async with outspool(worker=False) as loose:
        for email in (changed, retried):
            await loose.outbox.retry(str(email.id), override_policy=True)
        await loose.outbox.update(str(changed.id), {"subject": "Another"})
        assert not (await loose.outbox.get(str(changed.id))).overrides_policy
        assert (await loose.outbox.get(str(retried.id))).overrides_policy
    async with outspool(**denied) as strict:
        assert (await settled(strict, changed)).status is S.FAILED
        assert (await settled(strict, retried)).status is S.SENT
    assert [list(mail.recipients) for mail in sink.messages()] == [["cfo@bank.example"]]


async def test_what_is_deferred_is_asked_about_at_each_attempt_and_at_a_retry(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    async with outspool() as loose:
        email = await accept(loose, "defer-ann@example.com")
        assert (await settled(loose, email)).status is S.DEFERRED
    async with outspool(worker=False, EMAIL_DENIED_RECIPIENTS="@example.com") as strict:
        with pytest.raises(RecipientRefused):
            await strict.outbox.retry(str(email.id))
    async with outspool(worker=False) as loose:
        await loose.outbox.retry(str(email.id))
    async with outspool(EMAIL_DENIED_RECIPIENTS="@example.com") as strict:
        await until_ended(strict, email)
        ended = await strict.outbox.get(str(email.id))
    assert ended.status is S.FAILED
    assert ended.problem is not None
    assert ended.problem.code == "recipient_refused"
    assert not sink.messages()


async def until_ended(app: Outspool, email: Email) -> None:
    version = await app.outbox.version(str(email.id))
    while (await app.outbox.get(str(email.id))).status is not S.FAILED:
        version = await app.outbox.next_version(str(email.id), after=version)


async def test_a_sender_that_is_no_longer_configured_sends_nothing(outspool: OpenOutspool, sink: SmtpSink) -> None:
    async with outspool(worker=False) as app:
        email = await accept(app, "ann@example.com")
    # The lane is its own: so the email stays this worker's, in a name that it may not use any more.
    async with outspool(worker=False) as app:
        other = sa.text("UPDATE emails SET from_address = 'boss@example.com'")
        await app.database.write(lambda connection: connection.execute(other))
    async with outspool() as app:
        failed = await settled(app, email)
        assert failed.status is S.FAILED
        assert failed.problem is not None
        assert failed.problem.code == "sender_refused"
        assert Setting.SENDER in failed.problem.hint
        with pytest.raises(SenderRefused):
            await app.outbox.retry(str(email.id))
        await app.outbox.retry(str(email.id), override_policy=True)
        assert (await settled(app, email)).status is S.SENT
    assert [mail.envelope_from for mail in sink.messages()] == ["boss@example.com"]
