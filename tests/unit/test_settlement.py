"""An email's next state after an attempt, for every mixture of outcomes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outbox_samples import NOW, OK, an_email

from outspool.domain.delivery import Delivery, Outcome, Verdict
from outspool.domain.email import Email, Problem, Reply
from outspool.domain.fault import Trouble
from outspool.domain.settlement import defer_for_account, fail_unsendable, settle_delivery
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import TroubleKind

S, R = EmailStatus, RecipientStatus
DELAY = timedelta(minutes=1)
GONE = Outcome(verdict=Verdict.REFUSED, reply=Reply(code=550, enhanced_code="5.1.1", text="no such user"))
BUSY = Outcome(verdict=Verdict.RETRY, reply=Reply(code=451, enhanced_code="4.3.0", text="later"))
TAKEN = Outcome(verdict=Verdict.TAKEN, reply=OK)
DOUBT = Outcome(verdict=Verdict.IN_DOUBT, why="the line dropped")
OUTCOMES = {"taken": TAKEN, "busy": BUSY, "gone": GONE, "doubt": DOUBT}


def attempt(*kinds: str, delay: timedelta | None = DELAY, resend: bool = False) -> Transition:
    email = an_email(*(f"r{n}@example.com" for n in range(len(kinds))))
    delivery = Delivery(outcomes={r.address: OUTCOMES[kind] for r, kind in zip(email.recipients, kinds, strict=True)})
    return settle_delivery(email, delivery, now=NOW, delay=delay, resend_doubtful=resend)


@pytest.mark.parametrize(
    ("kinds", "target", "why"),
    [
        (["taken"], S.SENT, "250 2.0.0 ok"),
        (["taken", "taken"], S.SENT, "250 2.0.0 ok"),
        (["gone"], S.FAILED, "550 5.1.1 no such user"),
        (["taken", "gone"], S.PARTIAL, "550 5.1.1 no such user"),
        (["busy"], S.DEFERRED, "451 4.3.0 later"),
        (["taken", "busy", "gone"], S.DEFERRED, "451 4.3.0 later"),
        (["doubt"], S.UNKNOWN, "the line dropped"),
        (["doubt", "busy", "gone"], S.UNKNOWN, "the line dropped"),
    ],
)
def test_the_worst_recipient_decides_and_says_why(kinds: list[str], target: EmailStatus, why: str) -> None:
    change = attempt(*kinds)
    assert (change.target, change.detail, change.attempts) == (
        target,
        why if why == "the line dropped" else f'the server said: "{why}"',
        1,
    )


def test_the_next_attempt_is_after_the_delay_and_for_those_owed() -> None:
    change = attempt("taken", "busy")
    assert change.due_at == NOW + DELAY
    assert change.recipients is not None
    assert [r.status for r in change.recipients] == [R.SENT, R.DEFERRED]


def test_recipients_a_server_had_no_room_for_follow_at_once_and_cost_no_attempt() -> None:
    full = Outcome(verdict=Verdict.RETRY, reply=Reply(code=452, enhanced_code="4.5.3", text="too many"))
    email = an_email("a@example.com", "b@example.com")
    delivery = Delivery(outcomes={"a@example.com": TAKEN, "b@example.com": full})
    change = settle_delivery(email, delivery, now=NOW, delay=None, resend_doubtful=False)
    assert (change.target, change.due_at, change.attempts) == (S.DEFERRED, NOW, 0)


def test_the_email_that_found_the_trouble_goes_to_the_end_of_the_line() -> None:
    email = an_email(at=NOW - timedelta(hours=1))
    change = defer_for_account(email, Trouble(TroubleKind.THROTTLED, "421"), now=NOW, due_at=NOW)
    assert (change.due_at, change.attempts) == (NOW, 0)


def test_out_of_retries_is_failed_or_partial() -> None:
    assert attempt("busy", delay=None).target is S.FAILED
    assert attempt("taken", "busy", delay=None).target is S.PARTIAL
    assert "Out of retries after 1 attempts" in attempt("busy", delay=None).detail


def test_no_attempt_is_planned_beyond_the_end_of_an_emails_time() -> None:
    change = attempt("busy", delay=timedelta(hours=200))
    assert change.target is S.FAILED
    assert change.code == "expired"


def test_doubt_is_tried_again_where_the_operator_prefers_that() -> None:
    assert attempt("doubt", resend=True).target is S.DEFERRED


def test_the_reason_for_partial_is_the_refusal_of_an_earlier_attempt() -> None:
    email = an_email("a@example.com", "b@example.com")
    gone = replace(email.recipients[1], status=R.FAILED, reply=GONE.reply)
    email = replace(email, recipients=(email.recipients[0], gone))
    change = settle_delivery(
        email, Delivery(outcomes={"a@example.com": TAKEN}), now=NOW, delay=DELAY, resend_doubtful=False
    )
    assert (change.target, change.detail) == (S.PARTIAL, 'the server said: "550 5.1.1 no such user"')


def test_trouble_of_the_account_burns_no_attempt_and_keeps_the_turn() -> None:
    email = an_email(attempts=2, at=NOW - timedelta(hours=1))
    change = defer_for_account(email, Trouble(TroubleKind.LOGIN, "wrong password", "mend it"), now=NOW)
    assert (change.target, change.attempts, change.due_at) == (S.DEFERRED, 2, email.due_at)
    assert change.problem is not None
    assert change.problem.code == "account_trouble"


def test_what_cannot_be_composed_is_failed() -> None:
    change = fail_unsendable(an_email(), Problem(code="invalid_argument", message="no"), now=NOW)
    assert change.target is S.FAILED


@given(
    kinds=st.lists(st.sampled_from(sorted(OUTCOMES)), min_size=1, max_size=6),
    tries=st.integers(1, 6),
    resend=st.booleans(),
)
def test_nobody_who_has_the_email_or_may_have_it_is_asked_again(kinds: list[str], tries: int, resend: bool) -> None:
    email: Email = an_email(*(f"r{n}@example.com" for n in range(len(kinds))))
    served: list[str] = []
    for _ in range(tries):
        owed = [r.address for r in email.owed]
        if not owed:
            break
        outcomes = {a: OUTCOMES[kinds[int(a[1])]] for a in owed}
        done = {a for a, outcome in outcomes.items() if outcome.verdict in (Verdict.TAKEN, Verdict.REFUSED)}
        assert not done & set(served)
        served += done
        change = settle_delivery(email, Delivery(outcomes=outcomes), now=NOW, delay=DELAY, resend_doubtful=resend)
        assert change.recipients is not None
        email = replace(email, recipients=change.recipients, attempts=change.attempts or 0)
        if change.target is not S.DEFERRED:
            break
    else:
        assert {kinds[int(r.address[1])] for r in email.owed} <= {"busy", "doubt"}
