"""Attribution of a server's refusal to serve."""

from __future__ import annotations

from itertools import product

import pytest
from support.outbox_samples import OK, an_email

from outspool.domain.delivery import Delivery, Outcome, Phase, Verdict
from outspool.domain.email import Email, Problem, Reply
from outspool.domain.fault import (
    SUSPECTED,
    Fault,
    Trouble,
    attribute_fault,
    find_silent_drop,
    is_connection_limit,
    is_message_triggered,
)
from outspool.errors import TroubleKind

FRESH = an_email()
SUSPECT = an_email(problem=Problem(code=SUSPECTED, message="421"))
RESTING = an_email(problem=Problem(code="account_trouble", message="421"))
K, B = TroubleKind, Fault


def trouble(kind: TroubleKind, phase: Phase, code: int | None) -> Trouble:
    return Trouble(kind, "no", phase=phase, reply_code=code)


NOT_NOW = trouble(K.THROTTLED, Phase.DATA, 421)
HUNG_UP = trouble(K.NETWORK, Phase.MAIL, None)
DROPPED = trouble(K.NETWORK, Phase.DATA, None)
TOO_MANY = trouble(K.THROTTLED, Phase.CONNECT, 421)
REFUSED = trouble(K.NETWORK, Phase.CONNECT, None)
WRONG_LOGIN = trouble(K.LOGIN, Phase.LOGIN, 535)
NO_TLS = trouble(K.TLS, Phase.TLS, None)
DAYS_LIMIT = trouble(K.THROTTLED, Phase.DATA, 550)


@pytest.mark.parametrize(
    ("met", "email", "others_pass", "account_is_well", "whose"),
    [
        # The first time it may be the account.
        (NOT_NOW, FRESH, False, True, B.ACCOUNT),
        (HUNG_UP, FRESH, False, True, B.ACCOUNT),
        (NOT_NOW, RESTING, False, True, B.ACCOUNT),
        # The second time, when others got past it, it is the email.
        (NOT_NOW, SUSPECT, False, True, B.EMAIL),
        (NOT_NOW, SUSPECT, True, True, B.EMAIL),
        (HUNG_UP, SUSPECT, False, True, B.EMAIL),
        # But not while nobody is known to get past: it may be the only one that tries.
        (NOT_NOW, SUSPECT, False, False, B.ACCOUNT),
        # Unless the server hung up over its recipients or its content.
        (HUNG_UP, SUSPECT, False, False, B.ACCOUNT),
        (DROPPED, SUSPECT, False, False, B.EMAIL),
        (DROPPED, FRESH, False, False, B.ACCOUNT),
        # What a message cannot provoke is never the message's.
        (REFUSED, SUSPECT, False, True, B.ACCOUNT),
        (TOO_MANY, SUSPECT, False, True, B.ACCOUNT),
        (WRONG_LOGIN, SUSPECT, False, True, B.ACCOUNT),
        (DAYS_LIMIT, SUSPECT, False, True, B.ACCOUNT),
        # While others are served the account is well.
        (NOT_NOW, FRESH, True, True, B.CROWD),
        (TOO_MANY, FRESH, True, True, B.CROWD),
        (REFUSED, FRESH, True, True, B.CROWD),
        (DAYS_LIMIT, FRESH, True, True, B.CROWD),
        # Connections that were opened before go on after a password was changed, or a certificate.
        (WRONG_LOGIN, FRESH, True, True, B.ACCOUNT),
        (NO_TLS, FRESH, True, True, B.ACCOUNT),
    ],
)
def test_whose_fault_it_is(met: Trouble, email: Email, others_pass: bool, account_is_well: bool, whose: Fault) -> None:
    assert attribute_fault(met, email, others_pass=others_pass, account_is_well=account_is_well) is whose


@pytest.mark.parametrize(("phase", "code"), list(product(Phase, (None, 421, 454, 535, 550))))
def test_only_a_refusal_for_now_while_it_is_on_offer_can_be_an_emails_doing(phase: Phase, code: int | None) -> None:
    on_offer = phase in (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE)
    met = trouble(K.THROTTLED, phase, code)
    assert is_message_triggered(met) is (on_offer and code in (None, 421, 454))
    assert is_connection_limit(met) is (phase in (Phase.CONNECT, Phase.LOGIN) and code in (421, 454))


def test_a_trouble_that_nobody_met_is_nobodys() -> None:
    assert not is_message_triggered(Trouble(K.NETWORK, "no"))
    assert not is_connection_limit(Trouble(K.NETWORK, "no"))


SILENT = Outcome(verdict=Verdict.RETRY, why="At RCPT: the connection was lost.", phase=Phase.RCPT)
TAKEN = Outcome(verdict=Verdict.TAKEN, reply=OK)
DEFERRED = Outcome(verdict=Verdict.RETRY, reply=Reply(code=451, enhanced_code=None, text="later"))
DOUBTFUL = Outcome(verdict=Verdict.IN_DOUBT, why="After the message: the connection was lost.")


@pytest.mark.parametrize(
    ("outcomes", "is_trouble"),
    [
        ([SILENT], True),
        ([SILENT, SILENT], True),
        ([SILENT, DEFERRED], False),
        ([DEFERRED], False),
        ([TAKEN], False),
        ([DOUBTFUL], False),
        ([SILENT, DOUBTFUL], False),
    ],
)
def test_a_line_that_fell_silent_before_anything_was_decided_is_trouble(
    outcomes: list[Outcome], is_trouble: bool
) -> None:
    found = find_silent_drop(Delivery(outcomes={f"r{n}@example.com": outcome for n, outcome in enumerate(outcomes)}))
    assert (found is not None) is is_trouble
    if found is not None:
        assert found.kind is K.NETWORK
        assert "RCPT" in found.message
        assert found.phase is Phase.RCPT
        assert is_message_triggered(found)
