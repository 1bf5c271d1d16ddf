"""`chaos.checker` finds each broken promise, and passes a clean trial."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from chaos.checker import check
from chaos.records import Answer, Evidence, Excuse, Exit, StoredEmail, StoredEvent, Taken

from outspool.domain.status import EmailStatus, RecipientStatus

S, R = EmailStatus, RecipientStatus
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ADA = "ada@example.com"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def events(*history: tuple[float, EmailStatus, str]) -> tuple[StoredEvent, ...]:
    return tuple(StoredEvent(at=at(seconds), status=status, code=code) for seconds, status, code in history)


ACCEPTED = (0, S.QUEUED, "accepted")
CLAIMED = (1, S.SENDING, "claimed")
SENT = (2, S.SENT, "sent")
LOST = (9, S.UNKNOWN, "worker_lost")
RETRIED = (20, S.QUEUED, "retried")
CLAIMED_AGAIN = (21, S.SENDING, "claimed")
SENT_AGAIN = (22, S.SENT, "sent")

EMAIL = StoredEmail(
    id="1",
    status=S.SENT,
    message_id="<1@example.com>",
    subject="ask 1",
    created_at=NOW,
    due_at=NOW,
    recipients={ADA: R.SENT},
    events=events(ACCEPTED, CLAIMED, SENT),
    attempts=1,
)
TAKEN = Taken(message_id=EMAIL.message_id, subject=EMAIL.subject, recipients=(ADA,))
ANSWER = Answer(step=1, do="accept", at=NOW, id=EMAIL.id, subject=EMAIL.subject)
IN_DOUBT = replace(
    EMAIL,
    status=S.UNKNOWN,
    recipients={ADA: R.UNKNOWN},
    events=events(ACCEPTED, CLAIMED, LOST),
    attempts=0,
    problem="worker_lost",
)
RETRIED_DOUBT = replace(EMAIL, events=events(ACCEPTED, CLAIMED, LOST, RETRIED, CLAIMED_AGAIN, SENT_AGAIN))
KILL = Excuse(why="kill -9", codes=frozenset({"worker_lost"}), since=at(3), until=at(3), most=1)
EVIDENCE = Evidence(now=at(60), emails=(EMAIL,), taken=(TAKEN,), answers=(ANSWER,))


def broken(evidence: Evidence) -> set[str]:
    return {violation.promise for violation in check(evidence)}


def with_email(email: StoredEmail, *, copies: int = 0, excuses: tuple[Excuse, ...] = ()) -> Evidence:
    taken = (replace(TAKEN, message_id=email.message_id, subject=email.subject),) * copies
    return replace(EVIDENCE, emails=(email,), taken=taken, excuses=excuses)


def test_a_trial_in_which_all_went_well_is_let_pass() -> None:
    assert check(EVIDENCE) == []


class TestAcceptance:
    def test_an_email_that_was_accepted_and_is_gone_is_found(self) -> None:
        assert broken(replace(EVIDENCE, emails=(), taken=())) == {"accepted means committed"}

    def test_a_message_that_is_in_no_store_is_found(self) -> None:
        assert broken(replace(EVIDENCE, emails=(), answers=())) == {"accepted means committed"}

    def test_an_email_that_was_refused_and_is_stored_is_found(self) -> None:
        refused = replace(ANSWER, id=None, error="store_unavailable")
        assert broken(replace(EVIDENCE, answers=(refused,))) == {"an error means nothing was stored"}

    @pytest.mark.parametrize("change", [{"error": "store_unavailable", "in_doubt": True}, {"was_answered": False}])
    def test_who_was_left_in_doubt_may_find_an_email_stored(self, change: dict[str, object]) -> None:
        assert check(replace(EVIDENCE, answers=(replace(ANSWER, id=None, **change),))) == []  # type: ignore[arg-type]

    def test_two_emails_from_one_doubtful_call_are_found(self) -> None:
        twin = replace(EMAIL, id="2", message_id="<2@example.com>")
        evidence = replace(
            EVIDENCE,
            emails=(EMAIL, twin),
            taken=(TAKEN, replace(TAKEN, message_id=twin.message_id)),
            answers=(replace(ANSWER, id=None, was_answered=False),),
        )
        assert broken(evidence) == {"an error means nothing was stored"}

    def test_a_key_that_gave_two_emails_is_found(self) -> None:
        keyed, twin = replace(EMAIL, key="k"), replace(EMAIL, id="2", message_id="<2@example.com>", key="k")
        answers = tuple(replace(ANSWER, id=email.id, key="k") for email in (keyed, twin))
        taken = (TAKEN, replace(TAKEN, message_id=twin.message_id))
        evidence = replace(EVIDENCE, emails=(keyed, twin), taken=taken, answers=answers)
        assert broken(evidence) == {"one key, one email"}

    def test_an_error_that_is_not_for_callers_is_found(self) -> None:
        assert broken(replace(EVIDENCE, answers=(ANSWER, replace(ANSWER, id=None, error="error")))) == {
            "one clear sentence"
        }


class TestEnds:
    @pytest.mark.parametrize("status", [S.SENDING, S.QUEUED, S.DEFERRED, S.SCHEDULED])
    def test_an_email_that_is_stuck_is_found(self, status: EmailStatus) -> None:
        first = S.SCHEDULED if status is S.SCHEDULED else S.QUEUED
        history = {
            S.SENDING: events(ACCEPTED, CLAIMED),
            S.DEFERRED: events(ACCEPTED, CLAIMED, (2, S.DEFERRED, "deferred")),
        }.get(status, events((0, first, "accepted")))
        stuck = replace(EMAIL, status=status, recipients={ADA: R.PENDING}, events=history, attempts=0)
        assert broken(with_email(stuck)) == {"none is stuck"}

    def test_what_is_due_later_may_wait(self) -> None:
        later = replace(
            EMAIL,
            status=S.SCHEDULED,
            due_at=at(9999),
            recipients={ADA: R.PENDING},
            events=events((0, S.SCHEDULED, "accepted")),
            attempts=0,
        )
        assert check(with_email(later)) == []

    def test_a_trial_that_did_not_settle_is_found(self) -> None:
        assert broken(replace(EVIDENCE, unsettled="2 due")) == {"none is stuck"}

    def test_an_end_without_a_reason_is_found(self) -> None:
        assert "an end has a reason" in broken(with_email(replace(IN_DOUBT, problem=None), excuses=(KILL,)))

    @pytest.mark.parametrize(
        ("status", "recipient"), [(S.SENT, R.FAILED), (S.SENT, R.UNKNOWN), (S.CANCELED, R.SENT), (S.FAILED, R.SENT)]
    )
    def test_a_status_that_its_recipients_belie_is_found(self, status: EmailStatus, recipient: RecipientStatus) -> None:
        email = replace(EMAIL, status=status, recipients={ADA: recipient}, problem="refused")
        assert "a status is the truth" in broken(with_email(email))

    def test_an_email_that_fails_though_nobody_refused_it_is_found(self) -> None:
        failed = replace(
            EMAIL,
            status=S.FAILED,
            recipients={ADA: R.FAILED},
            events=events(ACCEPTED, CLAIMED, (2, S.FAILED, "out_of_retries")),
            problem="out_of_retries",
        )
        evidence = replace(with_email(failed), max_retries=0)
        assert check(evidence) == []
        assert broken(replace(evidence, blameless=frozenset({EMAIL.id}))) == {"no outage makes an email fail"}

    @pytest.mark.parametrize("exit_", [Exit(name="w", status=-9, seconds=1), Exit(name="w", status=0, seconds=99)])
    def test_a_stop_that_fails_or_hangs_is_found(self, exit_: Exit) -> None:
        assert broken(replace(EVIDENCE, exits=(exit_,))) == {"a stop is clean"}


class TestCopies:
    def test_a_message_that_somebody_has_twice_is_found(self) -> None:
        assert broken(with_email(EMAIL, copies=2)) == {"nothing is sent twice"}

    def test_a_recipient_who_counts_as_served_and_has_nothing_is_found(self) -> None:
        assert broken(with_email(EMAIL)) == {"sent means taken"}

    @pytest.mark.parametrize(("status", "recipient"), [(S.CANCELED, R.PENDING), (S.FAILED, R.FAILED)])
    def test_a_recipient_who_has_what_was_not_sent_is_found(
        self, status: EmailStatus, recipient: RecipientStatus
    ) -> None:
        email = replace(EMAIL, status=status, recipients={ADA: recipient}, problem="refused")
        assert "nothing is sent twice" in broken(with_email(email, copies=1))

    def test_a_retried_doubt_may_give_a_second_copy_and_no_third(self) -> None:
        assert check(with_email(RETRIED_DOUBT, copies=2, excuses=(KILL,))) == []
        assert broken(with_email(RETRIED_DOUBT, copies=3, excuses=(KILL,))) == {"nothing is sent twice"}

    def test_who_prefers_duplicates_to_doubts_gets_one_for_each_doubt_at_most(self) -> None:
        evidence = replace(with_email(EMAIL, copies=2, excuses=(KILL,)), resends=True)
        assert check(evidence) == []
        assert broken(replace(evidence, taken=(TAKEN,) * 3)) == {"nothing is sent twice"}
        assert broken(replace(evidence, excuses=())) == {"nothing is sent twice"}

    def test_a_message_that_differs_from_what_is_stored_is_found(self) -> None:
        assert broken(replace(EVIDENCE, taken=(replace(TAKEN, subject="before"),))) == {
            "what is stored is what is sent"
        }

    def test_a_confirmed_cancel_that_did_not_hold_is_found(self) -> None:
        cancel = replace(ANSWER, do="cancel")
        assert broken(replace(EVIDENCE, answers=(ANSWER, cancel))) == {"canceled means never sent"}


class TestDoubts:
    def test_a_doubt_that_a_kill_explains_is_let_pass(self) -> None:
        assert check(with_email(IN_DOUBT, copies=1, excuses=(KILL,))) == []

    def test_a_doubt_that_nothing_explains_is_found(self) -> None:
        assert broken(with_email(IN_DOUBT)) == {"in doubt only by a fault"}

    @pytest.mark.parametrize(
        "excuse",
        [
            replace(KILL, codes=frozenset({"in_doubt"})),
            replace(KILL, since=at(30), until=at(30)),
            replace(KILL, since=at(-5), until=at(-5)),
            replace(KILL, message_id="<other@example.com>"),
        ],
        ids=["another kind", "too late", "too early", "another message"],
    )
    def test_a_fault_of_another_kind_or_time_explains_nothing(self, excuse: Excuse) -> None:
        assert broken(with_email(IN_DOUBT, excuses=(excuse,))) == {"in doubt only by a fault"}

    def test_more_doubts_than_connections_are_found(self) -> None:
        twin = replace(IN_DOUBT, id="2", message_id="<2@example.com>")
        evidence = replace(with_email(IN_DOUBT), emails=(IN_DOUBT, twin), answers=(), excuses=(KILL,))
        evidence = replace(evidence, answers=tuple(replace(ANSWER, id=email.id) for email in (IN_DOUBT, twin)))
        assert len([v for v in check(evidence) if v.promise == "in doubt only by a fault"]) == 1
        assert check(replace(evidence, excuses=(replace(KILL, most=2),))) == []

    def test_each_doubt_gets_the_excuse_that_leaves_room_for_the_other(self) -> None:
        twin = replace(IN_DOUBT, id="2", message_id="<2@example.com>")
        answers = tuple(replace(ANSWER, id=email.id) for email in (IN_DOUBT, twin))
        only_first = replace(KILL, message_id=IN_DOUBT.message_id)
        for excuses in ((KILL, only_first), (only_first, KILL)):
            evidence = replace(EVIDENCE, emails=(IN_DOUBT, twin), taken=(), answers=answers, excuses=excuses)
            assert check(evidence) == []

    def test_a_doubt_that_its_worker_laid_to_rest_takes_up_no_room(self) -> None:
        settled = replace(EMAIL, events=events(ACCEPTED, CLAIMED, LOST, (10, S.SENT, "sent")))
        twin = replace(IN_DOUBT, id="2", message_id="<2@example.com>")
        answers = tuple(replace(ANSWER, id=email.id) for email in (settled, twin))
        assert check(replace(EVIDENCE, emails=(settled, twin), answers=answers, excuses=(KILL,))) == []
        assert broken(replace(EVIDENCE, emails=(settled, twin), answers=answers)) == {"in doubt only by a fault"}


class TestHistory:
    @pytest.mark.parametrize(
        "history",
        [
            events(CLAIMED, SENT),
            events(ACCEPTED, SENT),
            events(ACCEPTED, CLAIMED, CLAIMED_AGAIN, SENT_AGAIN),
            events(ACCEPTED, CLAIMED),
            (),
        ],
        ids=["no acceptance", "sent unclaimed", "claimed twice", "ends elsewhere", "empty"],
    )
    def test_a_history_against_the_table_is_found(self, history: tuple[StoredEvent, ...]) -> None:
        assert "the history is lawful" in broken(with_email(replace(EMAIL, events=history), copies=1))

    def test_a_history_out_of_order_is_found_beyond_the_slack(self) -> None:
        late = with_email(replace(EMAIL, events=events(ACCEPTED, CLAIMED, (-5, S.SENT, "sent"))), copies=1)
        assert broken(late) == {"the history is in order"}
        assert check(replace(late, slack_seconds=10)) == []

    def test_an_attempt_burnt_by_trouble_of_the_account_is_found(self) -> None:
        resting = events(ACCEPTED, CLAIMED, (2, S.DEFERRED, "account_trouble"), CLAIMED_AGAIN, SENT_AGAIN)
        assert check(with_email(replace(EMAIL, events=resting), copies=1)) == []
        burnt = replace(EMAIL, events=resting, attempts=2)
        assert broken(with_email(burnt, copies=1)) == {"attempts are not burnt"}

    def test_giving_up_before_the_last_retry_is_found(self) -> None:
        failed = replace(
            EMAIL,
            status=S.FAILED,
            recipients={ADA: R.FAILED},
            events=events(ACCEPTED, CLAIMED, (2, S.FAILED, "out_of_retries")),
            problem="out_of_retries",
        )
        assert broken(with_email(failed)) == {"attempts are not burnt"}
        assert check(replace(with_email(failed), max_retries=0)) == []


class TestRate:
    @staticmethod
    def accepted(*seconds: float, limit: int, refused: float | None = None) -> Evidence:
        emails = [replace(EMAIL, id=str(n), message_id=f"<{n}@x>", created_at=at(s)) for n, s in enumerate(seconds)]
        answers = [replace(ANSWER, id=email.id) for email in emails]
        if refused is not None:
            answers.append(replace(ANSWER, id=None, error="rate_limited", at=at(refused)))
        taken = tuple(replace(TAKEN, message_id=email.message_id) for email in emails)
        return replace(EVIDENCE, emails=tuple(emails), answers=tuple(answers), taken=taken, rate_limit=limit)

    def test_one_email_too_many_within_an_hour_is_found(self) -> None:
        assert broken(self.accepted(0, 10, 3599, limit=2)) == {"the rate limit holds"}
        assert check(self.accepted(0, 10, 3600, 3610, limit=2)) == []

    def test_a_refusal_while_there_was_room_is_found(self) -> None:
        assert broken(self.accepted(0, 10, limit=3, refused=20)) == {"the rate limit is exact"}
        assert check(self.accepted(0, 10, limit=2, refused=20)) == []
