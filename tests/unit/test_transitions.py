"""The table of transitions, and the constructors that use it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outbox_samples import NOW, an_email

from outspool.domain.email import Problem
from outspool.domain.status import CLAIMABLE, TRANSITIONS, UNSETTLED, WAITING, EmailStatus, sources
from outspool.domain.transition import Transition

S = EmailStatus

LAWFUL = {
    (S.HELD, S.SCHEDULED),
    (S.HELD, S.QUEUED),
    (S.HELD, S.CANCELED),
    (S.SCHEDULED, S.SENDING),
    (S.SCHEDULED, S.HELD),
    (S.SCHEDULED, S.CANCELED),
    (S.QUEUED, S.SENDING),
    (S.QUEUED, S.SCHEDULED),
    (S.QUEUED, S.CANCELED),
    (S.DEFERRED, S.SENDING),
    (S.DEFERRED, S.FAILED),
    (S.DEFERRED, S.PARTIAL),
    (S.DEFERRED, S.CANCELED),
    (S.SENDING, S.SENT),
    (S.SENDING, S.PARTIAL),
    (S.SENDING, S.DEFERRED),
    (S.SENDING, S.FAILED),
    (S.SENDING, S.UNKNOWN),
    (S.SENDING, S.QUEUED),
    (S.UNKNOWN, S.QUEUED),
    (S.UNKNOWN, S.SENT),
    (S.UNKNOWN, S.PARTIAL),
    (S.UNKNOWN, S.FAILED),
    (S.UNKNOWN, S.DEFERRED),
    (S.UNKNOWN, S.CANCELED),
    (S.SENT, S.BOUNCED),
    (S.PARTIAL, S.QUEUED),
    (S.PARTIAL, S.BOUNCED),
    (S.FAILED, S.QUEUED),
    (S.RECURRING, S.PAUSED),
    (S.RECURRING, S.ENDED),
    (S.RECURRING, S.CANCELED),
    (S.PAUSED, S.RECURRING),
    (S.PAUSED, S.CANCELED),
    *((source, S.UNREADABLE) for source in (S.SCHEDULED, S.QUEUED, S.DEFERRED, S.SENDING, S.RECURRING)),
    (S.UNREADABLE, S.QUEUED),
    (S.UNREADABLE, S.CANCELED),
}


@pytest.mark.parametrize(("source", "target"), list(product(S, S)))
def test_each_change_is_lawful_or_not_as_written_down(source: EmailStatus, target: EmailStatus) -> None:
    assert (source in sources(target)) is ((source, target) in LAWFUL)


def test_every_status_has_its_row() -> None:
    assert set(TRANSITIONS) == set(S)


def test_what_is_sent_is_never_sent_again_by_itself() -> None:
    reachable = {S.SENT, S.CANCELED, S.BOUNCED}
    for _ in S:
        reachable |= {target for source in reachable for target in TRANSITIONS[source]}
    assert S.SENDING not in reachable


def test_what_can_be_claimed_leads_to_sending_and_waits() -> None:
    assert sources(S.SENDING) == CLAIMABLE
    assert CLAIMABLE < WAITING
    assert S.SENDING in UNSETTLED


@given(target=st.sampled_from(S), froms=st.frozensets(st.sampled_from(S)))
def test_a_transition_that_the_table_does_not_allow_cannot_be_built(
    target: EmailStatus, froms: frozenset[EmailStatus]
) -> None:
    if froms and froms <= sources(target):
        assert Transition(target=target, sources=froms, code="x", at=NOW).target is target
        return
    with pytest.raises(ValueError, match="no transition"):
        Transition(target=target, sources=froms, code="x", at=NOW)


def test_a_series_is_never_sent_and_nothing_that_is_sent_becomes_a_series() -> None:
    series = {S.RECURRING, S.PAUSED, S.ENDED}
    assert {target for source in series for target in TRANSITIONS[source]} - series == {S.CANCELED, S.UNREADABLE}
    assert {source for target in series for source in sources(target)} <= series


def test_every_named_constructor_is_lawful() -> None:
    email = an_email()
    problem = Problem(code="x", message="y")
    to = email.recipients
    changes = [
        Transition.sent(at=NOW, recipients=to, attempts=1, detail=""),
        Transition.partial(at=NOW, recipients=to, attempts=1, problem=problem),
        Transition.failed(at=NOW, recipients=to, attempts=1, problem=problem),
        Transition.deferred(at=NOW, recipients=to, attempts=1, due_at=NOW, problem=problem),
        Transition.unknown(at=NOW, recipients=to, attempts=1, problem=problem),
        Transition.handed_back(at=NOW, code="x", detail=""),
        Transition.canceled(at=NOW),
        Transition.stopped(at=NOW, recipients=to, problem=problem),
        Transition.retried(at=NOW, recipients=to, expires_at=NOW),
    ]
    assert all((source, change.target) in LAWFUL for change in changes for source in change.sources)
    assert not any(change.keeps_lease for change in changes if change.target is not S.UNKNOWN)
