"""The table of server replies: the meaning of each code in each phase."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.domain.delivery import Phase, Verdict, classify, parse_reply
from outspool.domain.email import Reply
from outspool.errors import TroubleKind

EVERYWHERE = list(Phase)
BEFORE_THE_MESSAGE = [p for p in Phase if p is not Phase.MESSAGE]
ENVELOPE = [Phase.MAIL, Phase.RCPT, Phase.DATA]


def meaning(phase: Phase, said: str) -> Verdict | TroubleKind:
    code, _, text = said.partition(" ")
    return classify(phase, parse_reply(int(code), text))


@pytest.mark.parametrize(
    ("phases", "said", "means"),
    [
        ([Phase.MAIL, Phase.RCPT, Phase.MESSAGE], "250 2.0.0 Ok", Verdict.TAKEN),
        ([Phase.RCPT], "251 User not local; will forward", Verdict.TAKEN),
        ([Phase.DATA], "354 Go ahead", Verdict.TAKEN),
        ([Phase.MESSAGE], "250 5.0.0 A contradiction is still a yes", Verdict.TAKEN),
        # the account
        (EVERYWHERE, "421 4.7.0 Try again later, closing connection", TroubleKind.THROTTLED),
        (EVERYWHERE, "421 4.7.28 Unusual rate of mail", TroubleKind.THROTTLED),
        (BEFORE_THE_MESSAGE, "421 Service shutting down", TroubleKind.NETWORK),
        (BEFORE_THE_MESSAGE, "421 4.4.2 Timeout exceeded", TroubleKind.NETWORK),
        (EVERYWHERE, "550 5.4.5 Daily user sending limit exceeded", TroubleKind.THROTTLED),
        ([Phase.LOGIN, *ENVELOPE], "454 4.7.0 Too many login attempts", TroubleKind.THROTTLED),
        ([Phase.TLS], "454 4.7.0 TLS not available", TroubleKind.TLS),
        ([Phase.TLS], "501 Syntax error", TroubleKind.TLS),
        ([Phase.LOGIN, *ENVELOPE], "530 5.7.0 Authentication required", TroubleKind.LOGIN),
        ([Phase.LOGIN, *ENVELOPE], "534 5.7.9 Application-specific password required", TroubleKind.LOGIN),
        ([Phase.LOGIN, *ENVELOPE], "535 5.7.8 Username and Password not accepted", TroubleKind.LOGIN),
        ([Phase.LOGIN, *ENVELOPE], "538 5.7.11 Encryption required", TroubleKind.LOGIN),
        (ENVELOPE, "550 5.7.8 Credentials invalid", TroubleKind.LOGIN),
        ([Phase.LOGIN], "432 4.7.12 A password transition is needed", TroubleKind.LOGIN),
        ([Phase.LOGIN], "451 4.3.0 Temporary failure", TroubleKind.THROTTLED),
        ([Phase.CONNECT], "554 No SMTP service here", TroubleKind.NETWORK),
        ([Phase.CONNECT], "554 5.7.1 Your address is listed", TroubleKind.THROTTLED),
        # one recipient, or the message
        ([Phase.RCPT], "550 5.1.1 No such user", Verdict.REFUSED),
        ([Phase.RCPT], "450 5.1.1 The enhanced code decides", Verdict.REFUSED),
        ([Phase.RCPT], "552 4.2.2 Mailbox full", Verdict.RETRY),
        ([Phase.RCPT], "452 4.2.2 Mailbox full", Verdict.RETRY),
        ([Phase.RCPT], "450 4.7.1 Greylisted", Verdict.RETRY),
        ([Phase.RCPT], "451 4.7.1 Greylisted", Verdict.RETRY),
        ([Phase.RCPT], "450 Greylisted", Verdict.RETRY),
        ([Phase.RCPT], "454 4.7.1 Relay access denied", Verdict.RETRY),
        ([Phase.RCPT], "452 4.5.3 Too many recipients", Verdict.RETRY),
        ([Phase.RCPT], "552 5.5.3 Too many recipients", Verdict.RETRY),
        ([Phase.RCPT], "552 Too many recipients", Verdict.RETRY),
        ([Phase.RCPT], "552 5.3.4 Message too big for this mailbox", Verdict.REFUSED),
        ([Phase.MAIL, Phase.MESSAGE], "552 5.3.4 Message too big", Verdict.REFUSED),
        ([Phase.MAIL, Phase.MESSAGE], "552 Message too big", Verdict.REFUSED),
        ([Phase.MAIL], "452 4.3.1 Insufficient system storage", Verdict.RETRY),
        ([Phase.MAIL], "553 5.7.1 Sender address not owned by user", Verdict.REFUSED),
        (ENVELOPE, "503 5.5.1 Bad sequence of commands", Verdict.RETRY),
        ([Phase.DATA], "554 No valid recipients", Verdict.REFUSED),
        ([Phase.MESSAGE], "451 4.3.0 Local error", Verdict.RETRY),
        ([Phase.MESSAGE], "421 Closing", Verdict.RETRY),
        ([Phase.MESSAGE], "554 5.7.1 Spam", Verdict.REFUSED),
        ([Phase.MESSAGE], "554 5.7.9 Not accepted for policy reasons", Verdict.REFUSED),
        # no reply to what was asked
        ([Phase.DATA], "250 Ok", Verdict.RETRY),
        ([Phase.MAIL, Phase.RCPT], "354 Go ahead", Verdict.RETRY),
        ([Phase.MESSAGE], "354 Go ahead", Verdict.IN_DOUBT),
        ([Phase.MESSAGE], "777 Jackpot", Verdict.IN_DOUBT),
    ],
)
def test_a_reply_means(phases: list[Phase], said: str, means: Verdict | TroubleKind) -> None:
    assert {phase: meaning(phase, said) for phase in phases} == dict.fromkeys(phases, means)


@given(
    phase=st.sampled_from(Phase),
    code=st.integers(0, 999),
    enhanced=st.none() | st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True),
)
def test_doubt_is_only_for_what_came_after_the_message(phase: Phase, code: int, enhanced: str | None) -> None:
    means = classify(phase, Reply(code=code, enhanced_code=enhanced, text=""))
    if means is Verdict.IN_DOUBT:
        assert phase is Phase.MESSAGE
        assert not 200 <= code < 300
        assert not 400 <= code < 600
    if means is Verdict.TAKEN:
        assert code // 100 == (3 if phase is Phase.DATA else 2)


@given(phase=st.sampled_from([Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.MESSAGE]), code=st.integers(400, 599))
def test_a_basic_code_alone_never_turns_a_refusal_into_a_yes(phase: Phase, code: int) -> None:
    assert classify(phase, Reply(code=code, enhanced_code="2.0.0", text="")) is not Verdict.TAKEN


@pytest.mark.parametrize(
    ("text", "enhanced", "line"),
    [
        ("5.1.1 No such user", "5.1.1", "No such user"),
        ("5.1.1 No such\n5.1.1 user, see\n5.1.1 https://example.com", "5.1.1", "No such user, see https://example.com"),
        ("5.1.1 No such\nuser", "5.1.1", "No such user"),
        ("4.2.2", "4.2.2", ""),
        ("4.3.2.1 is listed", None, "4.3.2.1 is listed"),
        ("3.1.1 is no enhanced code", None, "3.1.1 is no enhanced code"),
        ("Try 5.1.1 later", None, "Try 5.1.1 later"),
        ("", None, ""),
        ("\x1b[31mred\x00\ttab\u2028line\udcff", None, "[31mred tab line"),
        ("naïve ✓", None, "naïve ✓"),
    ],
)
def test_a_reply_is_split_into_code_and_one_line(text: str, enhanced: str | None, line: str) -> None:
    assert parse_reply(550, text) == Reply(code=550, enhanced_code=enhanced, text=line)


@given(st.text(st.characters(), max_size=2000))
def test_whatever_a_server_says_becomes_one_short_printable_line(text: str) -> None:
    line = parse_reply(250, text).text
    assert len(line) <= 300
    assert line.isprintable()
    assert line == line.strip()
    line.encode()
