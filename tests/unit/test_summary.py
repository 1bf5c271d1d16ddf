"""The summary of an email says what is known, and no more."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from outspool.domain.email import Content, Email, Mailbox, Problem, Recipient, RecipientKind, Reply
from outspool.domain.outlook import Outlook, Pause, Senders
from outspool.domain.recurrence import Recurrence
from outspool.domain.series import Series
from outspool.domain.status import CLAIMABLE, EmailStatus, RecipientStatus
from outspool.domain.summary import next_attempt_at, summarize
from outspool.domain.times import format_time, format_utc

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TAKEN = Reply(code=250, enhanced_code="2.0.0", text="Ok: queued as 4F2")
NO_USER = Reply(code=550, enhanced_code="5.1.1", text="no such user")
LATER = Reply(code=451, enhanced_code="4.3.0", text="try later")


WEEKLY = Recurrence(cron="0 13 * * sun", timezone="Europe/Berlin")


def recipient(name: str, status: RecipientStatus = RecipientStatus.PENDING, reply: Reply | None = None) -> Recipient:
    mailbox = Mailbox(address=f"{name}@example.com")
    return Recipient(kind=RecipientKind.TO, mailbox=mailbox, status=status, reply=reply)


def email(status: EmailStatus, *recipients: Recipient, due_in: float = 0, problem: Problem | None = None) -> Email:
    everyone = recipients or (recipient("a"),)
    return Email(
        id=UUID(int=1),
        status=status,
        content=Content(sender=Mailbox(address="me@example.com"), to=tuple(r.mailbox for r in everyone), body="hi"),
        recipients=everyone,
        message_id="<1@example.com>",
        date=NOW,
        created_at=NOW,
        due_at=NOW + timedelta(seconds=due_in),
        expires_at=NOW + timedelta(days=5),
        problem=problem,
        identity="me@example.com",
    )


def series(status: EmailStatus, rule: Recurrence = WEEKLY, **parts: Any) -> Series:
    one = email(status, **parts)
    return Series(**{part.name: getattr(one, part.name) for part in fields(one)}, recurrence=rule)


def any_of(status: EmailStatus) -> Email:
    is_of_series = status in (EmailStatus.RECURRING, EmailStatus.PAUSED, EmailStatus.ENDED)
    return series(status) if is_of_series else email(status)


@pytest.mark.parametrize("status", EmailStatus)
def test_every_status_has_a_sentence_that_never_says_delivered(status: EmailStatus) -> None:
    said = summarize(any_of(status), now=NOW)
    assert said.endswith((".", "…"))
    assert "deliver" not in said.lower()


def test_sent_names_the_one_recipient_and_repeats_the_reply() -> None:
    said = summarize(email(EmailStatus.SENT, recipient("a", RecipientStatus.SENT, TAKEN)), now=NOW)
    assert (
        said == 'Sent: the next mail server took it for a@example.com; the server said: "250 2.0.0 Ok: queued as 4F2".'
    )


def test_sent_counts_several_recipients() -> None:
    both = (recipient("a", RecipientStatus.SENT, TAKEN), recipient("b", RecipientStatus.SENT, TAKEN))
    assert "for 2 recipients" in summarize(email(EmailStatus.SENT, *both), now=NOW)


def test_partial_says_who_was_refused_and_why() -> None:
    both = (recipient("a", RecipientStatus.SENT, TAKEN), recipient("b", RecipientStatus.FAILED, NO_USER))
    said = summarize(email(EmailStatus.PARTIAL, *both), now=NOW)
    assert said == 'Taken for 1 of 2 recipients. Refused for b@example.com: the server said: "550 5.1.1 no such user".'


def test_stopped_halfway_says_that_it_was_canceled_for_the_rest() -> None:
    both = (recipient("a", RecipientStatus.SENT, TAKEN), recipient("b", RecipientStatus.FAILED))
    stopped = email(EmailStatus.PARTIAL, *both, problem=Problem(code="stopped", message="Canceled for the rest."))
    assert summarize(stopped, now=NOW) == "Taken for 1 of 2 recipients. Canceled for b@example.com."


def test_deferred_says_when_it_is_tried_again_and_why() -> None:
    waiting = email(
        EmailStatus.DEFERRED,
        recipient("a", RecipientStatus.DEFERRED, LATER),
        due_in=58,
        problem=Problem(code="deferred", message="451 4.3.0 try later"),
    )
    said = summarize(waiting, now=NOW)
    assert said == (
        "Not sent yet: 451 4.3.0 try later. It is tried again in 58 s, at 2026-11-22T12:00:58Z, "
        "and by itself until 2026-11-27T12:00:00Z."
    )


def test_deferred_while_the_account_rests_says_so_and_counts_to_the_end_of_the_rest() -> None:
    pause = Pause(until=NOW + timedelta(minutes=3, seconds=10), reason="connection refused")
    waiting = email(EmailStatus.DEFERRED, due_in=5)
    said = summarize(waiting, now=NOW, outlook=Outlook(pause=pause))
    assert "paused until 2026-11-22T12:03:10Z. connection refused." in said
    assert next_attempt_at(waiting, pause=pause) == pause.until


def test_a_deferred_email_already_taken_for_some_says_so() -> None:
    both = (recipient("a", RecipientStatus.SENT, TAKEN), recipient("b", RecipientStatus.DEFERRED, LATER))
    assert summarize(email(EmailStatus.DEFERRED, *both, due_in=58), now=NOW).startswith("Taken for 1 of 2 recipients. ")


def test_scheduled_says_the_time_and_how_long_until_then() -> None:
    said = summarize(email(EmailStatus.SCHEDULED, due_in=17 * 3600 + 180), now=NOW)
    assert said == "Scheduled for 2026-11-23T05:03:00Z, in 17 h 3 min. It goes out by itself."


def test_unknown_asks_for_the_person_before_a_retry() -> None:
    said = summarize(email(EmailStatus.UNKNOWN, recipient("a", RecipientStatus.UNKNOWN)), now=NOW)
    assert "may or may not" in said
    assert "ask the person first" in said


def test_failed_for_everybody_repeats_what_the_server_said_once() -> None:
    refused = tuple(recipient(name, RecipientStatus.FAILED, NO_USER) for name in "abcde")
    said = summarize(email(EmailStatus.FAILED, *refused), now=NOW)
    assert said.count("no such user") == 1
    assert said.endswith('c@example.com and 2 more: the server said: "550 5.1.1 no such user".')


def test_a_servers_endless_reply_is_clipped_and_stays_on_one_line() -> None:
    endless = Reply(code=550, enhanced_code=None, text="no\r\n\x1b[31m" + "x" * 10_000)
    said = summarize(email(EmailStatus.FAILED, recipient("a", RecipientStatus.FAILED, endless)), now=NOW)
    assert len(said) < 300
    assert said.isprintable()


def test_a_series_says_its_rule_and_its_next_two_times() -> None:
    said = summarize(series(EmailStatus.RECURRING, due_in=7 * 86400), now=NOW)
    assert said == (
        "A series, 0 13 * * sun in Europe/Berlin: next at 2026-11-29 13:00+01:00 Europe/Berlin "
        "(2026-11-29T12:00:00Z), in 7 days, then 2026-12-06 13:00+01:00 Europe/Berlin (2026-12-06T12:00:00Z). "
        "It goes out by itself."
    )


def test_a_series_with_an_end_counts_and_says_which_is_the_last() -> None:
    rule = replace(WEEKLY, count=3, made=2)
    said = summarize(series(EmailStatus.RECURRING, rule, due_in=60), now=NOW)
    assert ", 2 of 3 emails: next at 2026-11-22 13:01+01:00 Europe/Berlin (2026-11-22T12:01:00Z)" in said
    assert "in 1 min, and that is the last. " in said


def test_a_series_that_rests_says_so_and_why() -> None:
    denied = Problem(code="recipient_refused", message="The operator does not allow mail to bob@example.com.")
    said = summarize(series(EmailStatus.PAUSED, problem=denied), now=NOW)
    assert said.startswith("A series, paused. The operator does not allow mail to bob@example.com. It makes no emails ")


def test_a_series_that_ended_or_was_canceled_says_how_many_it_made() -> None:
    ended = series(EmailStatus.ENDED, replace(WEEKLY, count=3, made=3))
    assert summarize(ended, now=NOW).startswith("A series that is over, 3 of 3 emails.")
    canceled = series(EmailStatus.CANCELED, replace(WEEKLY, made=1))
    assert summarize(canceled, now=NOW) == "A series, canceled: it makes no more emails after 1 email."


@pytest.mark.parametrize("status", sorted(set(EmailStatus) - CLAIMABLE))
def test_nothing_but_a_waiting_email_has_a_next_attempt(status: EmailStatus) -> None:
    assert next_attempt_at(any_of(status)) is None


def test_times_are_rfc_3339_with_z_and_milliseconds_only_when_there_are_any() -> None:
    assert format_utc(NOW) == "2026-11-22T12:00:00Z"
    assert format_utc(NOW + timedelta(milliseconds=5)) == "2026-11-22T12:00:00.005Z"


def test_a_held_email_has_no_next_attempt_even_when_due() -> None:
    assert next_attempt_at(replace(email(EmailStatus.HELD), due_at=NOW)) is None


LATER_TODAY = email(EmailStatus.SCHEDULED, due_in=3600)


@pytest.mark.parametrize("waiting", [email(EmailStatus.QUEUED), LATER_TODAY, email(EmailStatus.DEFERRED)])
def test_nobody_is_promised_where_no_worker_runs(waiting: Email) -> None:
    said = summarize(waiting, now=NOW, outlook=Outlook(senders=Senders.NONE))
    assert "No worker is running" in said
    assert "outspool worker" in said
    assert "by itself" not in said


def test_a_worker_that_ends_with_its_app_is_not_promised_to_last() -> None:
    said = summarize(LATER_TODAY, now=NOW, outlook=Outlook(senders=Senders.WITH_CLIENT))
    assert "if an app that runs outspool is open" in said
    assert "by itself" not in said


def test_a_wrong_password_needs_a_person_and_its_fix_comes_before_the_reason() -> None:
    pause = Pause(
        until=NOW + timedelta(minutes=30),
        reason="Gmail refused the login",
        fix="Make a new password.",
        needs_person=True,
    )
    said = summarize(email(EmailStatus.QUEUED), now=NOW, outlook=Outlook(pause=pause))
    assert "nothing is sent until a person fixes it. Make a new password. Gmail refused the login." in said


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/Berlin", "2026-11-22 13:00+01:00 Europe/Berlin (2026-11-22T12:00:00Z)"),
        ("+05:30", "2026-11-22 17:30+05:30 (2026-11-22T12:00:00Z)"),
        ("Europe/London", "2026-11-22 12:00+00:00 Europe/London (2026-11-22T12:00:00Z)"),
        ("UTC", "2026-11-22T12:00:00Z"),
        (None, "2026-11-22T12:00:00Z"),
    ],
)
def test_a_time_is_shown_where_it_was_given_and_in_utc(zone: str | None, said: str) -> None:
    assert format_time(NOW, zone) == said


def test_a_wrong_password_is_said_with_its_fix_also_where_no_worker_runs() -> None:
    pause = Pause(until=NOW + timedelta(minutes=30), reason="The login failed", fix="Make one.", needs_person=True)
    waiting = email(EmailStatus.DEFERRED, problem=Problem(code="account_trouble", message="The login failed"))
    said = summarize(waiting, now=NOW, outlook=Outlook(pause=pause, senders=Senders.NONE))
    assert "until a person fixes it. Make one. The login failed. No worker is running" in said
    assert said.count("The login failed") == 1
