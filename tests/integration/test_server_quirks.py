"""What servers say of a session, of our name or of their limits is not read as the recipient's fault."""

from __future__ import annotations

import base64

import pytest
from support.quirky_smtp import QuirkySmtp, Session

from outspool.api.errors import name_variables
from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.email import Email
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.findings import Level

S = EmailStatus
HANG_UP = "\0"
"""An answer after which a session closes instead."""


def app_for(server: QuirkySmtp, tmp_path: object, **more: object) -> Outspool:
    return Outspool(
        Settings.load(
            {
                "OUTSPOOL_DATA_DIR": tmp_path,
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": server.port,
                "SMTP_SECURITY": "none",
                "EMAIL_FROM": "me@example.com",
                "EMAIL_RATE_LIMIT_PER_HOUR": "1000000",
                "SMTP_CONNECTIONS": "1",
                **more,
            }
        )
    )


async def send(app: Outspool, *to: str) -> Email:
    email = await app.outbox.accept(EmailRequest(to=to or ("ada@example.com",), subject="s", body="b"))
    return await app.outbox.wait_for_outcome(email, max_wait=15)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("DATA", "452 4.4.5 Maximum number of messages per session exceeded"),
        ("DATA", "451 Too many messages in this session"),
        ("DATA", "554 5.5.0 too many messages in session"),
        ("MAIL", "452 4.3.1 Try again"),
        ("MAIL", "450 4.7.1 Slow down"),
        ("MAIL", "554 Too many emails per connection"),
        ("RCPT", "452 Too many mails during this session"),
        ("RCPT", "421 4.7.0 Enough, closing connection"),
        ("DATA", "421 too many messages in this connection"),
        ("DATA", "550 5.7.0 Session limit exceeded, please reconnect"),
    ],
)
async def test_a_session_that_had_enough_costs_no_attempt(tmp_path: object, command: str, reply: str) -> None:
    def answer(session: Session, line: str) -> str | None:
        return reply if session.messages >= 3 and line.startswith(command) else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0")
        async with app.run(worker=True):
            sent = [await send(app, f"r{n}@example.com") for n in range(8)]
    assert {email.status for email in sent} == {S.SENT}
    assert {email.attempts for email in sent} == {1}
    assert [session.messages for session in server.sessions] == [3, 3, 2]


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
async def test_a_session_that_ends_without_a_word_costs_no_attempt(tmp_path: object, command: str) -> None:
    def answer(session: Session, line: str) -> str | None:
        return HANG_UP if session.messages >= 3 and line.startswith(command) else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0")
        async with app.run(worker=True):
            sent = [await send(app, f"r{n}@example.com") for n in range(5)]
            assert not app.breaker.state.failures
    assert {(email.status, email.attempts) for email in sent} == {(S.SENT, 1)}


async def test_an_email_that_every_session_refuses_does_not_live_on_the_sessions_of_others(tmp_path: object) -> None:
    def answer(_session: Session, line: str) -> str | None:
        if line.startswith("RCPT TO:<poison"):
            poisoned.append(_session)
        return "451 4.3.0 Try again" if line == "DATA" and poisoned[-1:] == [_session] else None

    poisoned: list[Session] = []
    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=False):
            others = [EmailRequest(to=[f"r{n}@example.com"], subject="s", body="b") for n in range(20)]
            waiting = [await app.outbox.accept(other) for other in others]
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0", SMTP_CONNECTIONS="4")
        async with app.run(worker=True):
            for email in waiting:
                assert (await app.outbox.wait_for_outcome(email, max_wait=30)).status is S.SENT
            assert len(server.sessions) > 2, "more sessions than it may use rest now"
            poison = await send(app, "poison@example.com")
    assert (poison.status, poison.attempts) == (S.FAILED, 1)
    assert len(poisoned) == 2


async def test_the_same_refusal_on_a_fresh_connection_counts(tmp_path: object) -> None:
    def answer(session: Session, line: str) -> str | None:
        return "452 4.4.5 Maximum number of messages per session exceeded" if line == "DATA" else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0")
        async with app.run(worker=True):
            email = await send(app)
    assert (email.status, email.attempts) == (S.FAILED, 1)


@pytest.mark.parametrize(
    "reply",
    [
        "452 Too many recipients",
        "552 Too many recipients",
        "452 #4.5.3 Too many",
        "452 4.5.3 x",
        "550 Too many recipients.",
        "550 5.7.1 Maximum recipients exceeded",
        "452 4.3.1 Recipient limit reached",
    ],
)
async def test_more_recipients_than_a_message_may_have_go_in_the_next_one(tmp_path: object, reply: str) -> None:
    def answer(session: Session, line: str) -> str | None:
        return reply if line.startswith("RCPT") and session.recipients >= 3 else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0")
        async with app.run(worker=True):
            email = await send(app, *(f"r{n}@example.com" for n in range(7)))
            while email.status in (S.DEFERRED, S.QUEUED, S.SENDING):
                email = await app.outbox.wait_for_outcome(await app.outbox.get(str(email.id)), max_wait=5)
    assert (email.status, email.attempts) == (S.SENT, 1)
    assert sum(session.messages for session in server.sessions) == 3


async def test_we_introduce_ourselves_by_the_senders_domain_or_as_set(tmp_path: object) -> None:
    async with QuirkySmtp(lambda _session, _line: None).listen() as server:
        for name, more in {"example.com": {}, "mail.example.org": {"SMTP_HELO_NAME": "mail.example.org"}}.items():
            app = app_for(server, tmp_path, **more)
            async with app.run(worker=True):
                await send(app)
            assert server.sessions[-1].commands[0] == f"EHLO {name}"


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("EHLO", "501 Syntactically invalid EHLO argument(s)"),
        ("EHLO", "501 5.5.4 Invalid domain name"),
        ("EHLO", "504 5.5.2 Not a name"),
        ("EHLO", "421 4.7.0 Try again later, closing connection. (EHLO)"),
        ("MAIL", "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"),
        ("MAIL", "550 Bad HELO - Host impersonating [example.com]"),
        ("RCPT", "450 4.7.1 <example.com>: Helo command rejected: Host not found"),
        ("RCPT", "550 5.7.1 HELO should be a FQDN or address literal"),
    ],
)
async def test_a_name_is_refused_in_many_words(tmp_path: object, command: str, reply: str) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return reply if line.startswith(command) else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=True):
            email = await send(app)
    assert (email.status, email.attempts) == (S.DEFERRED, 0)
    assert email.problem is not None
    assert "SMTP_HELO_NAME" in name_variables(email.problem.hint)


@pytest.mark.parametrize("command", ["EHLO", "MAIL", "RCPT"])
async def test_a_name_that_is_refused_is_the_accounts_trouble_with_its_fix(tmp_path: object, command: str) -> None:
    def answer(_session: Session, line: str) -> str | None:
        is_it = line.startswith(command)
        return "504 5.5.2 <example.com>: Helo command rejected: need fully-qualified hostname" if is_it else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=True):
            email = await send(app)
    assert (email.status, email.attempts) == (S.DEFERRED, 0)
    assert email.problem is not None
    assert "SMTP_HELO_NAME" in name_variables(email.problem.hint)
    assert 'does not accept "example.com"' in email.problem.message


@pytest.mark.parametrize("command", ["EHLO", "RCPT"])
async def test_the_doctor_finds_a_name_that_is_refused(tmp_path: object, command: str) -> None:
    def answer(_session: Session, line: str) -> str | None:
        is_it = line.startswith(command)
        return "504 5.5.2 <x>: Helo command rejected: need fully-qualified hostname" if is_it else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=False):
            findings = [finding async for finding in build_doctor(app, offline=False).examine()]
    assert [f for f in findings if "SMTP_HELO_NAME" in name_variables(f.fix) if f.level is Level.FAIL]
    assert not [line for session in server.sessions for line in session.commands if line == "DATA"]


@pytest.mark.parametrize(
    ("command", "reply", "fix"),
    [
        ("MAIL", "553 5.7.1 <me@example.com>: Sender address rejected: not owned by user ada", "EMAIL_FROM"),
        ("MAIL", "550 5.7.60 SMTP; Client does not have permissions to send as this sender", "EMAIL_FROM"),
        ("RCPT", "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "SMTP_USERNAME"),
        ("RCPT", "554 5.7.1 Client host [192.0.2.7] blocked using zen.example", "another network"),
    ],
)
async def test_the_doctor_finds_what_every_email_would_meet(
    tmp_path: object, command: str, reply: str, fix: str
) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return reply if line.startswith(command) else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=False):
            findings = [finding async for finding in build_doctor(app, offline=False).examine()]
    [login] = [finding for finding in findings if finding.name == "smtp login"]
    assert login.level is Level.FAIL
    assert fix in name_variables(login.fix)


async def test_the_doctor_does_not_mind_that_nobody_reads_the_senders_own_address(tmp_path: object) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return "550 5.1.1 User unknown" if line.startswith("RCPT") else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=False):
            findings = [finding async for finding in build_doctor(app, offline=False).examine()]
    assert not [finding for finding in findings if finding.level is Level.FAIL]


@pytest.mark.parametrize(
    ("reply", "fix"),
    [
        ("553 5.7.1 <me@example.com>: Sender address rejected: not owned by user ada", "EMAIL_FROM"),
        ("550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", "SMTP_USERNAME and SMTP_PASSWORD"),
        ("550 5.7.60 SMTP; Client does not have permissions to send as this sender", "EMAIL_FROM"),
        ("550 5.1.1 User unknown", "Check the address"),
    ],
)
async def test_a_refusal_names_what_to_change(tmp_path: object, reply: str, fix: str) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return reply if line.startswith("RCPT") else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=True):
            email = await send(app)
    assert email.status is S.FAILED
    assert email.problem is not None
    assert fix in name_variables(email.problem.hint)


async def test_an_account_that_may_not_send_costs_no_attempt(tmp_path: object) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return "550 5.4.6 Unusual sending activity detected. Please try later" if line == "DATA" else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=True):
            email = await send(app)
    assert (email.status, email.attempts) == (S.DEFERRED, 0)
    assert email.problem is not None
    assert "provider" in email.problem.hint


@pytest.mark.parametrize("quirk", ["no initial response", "initial response ignored", "old offer"])
async def test_plain_is_spoken_step_by_step_too(tmp_path: object, quirk: str) -> None:
    answer_line = base64.b64encode(b"\0ada\0secret").decode()

    def answer(_session: Session, line: str) -> str | None:
        if line == answer_line:
            return "235 2.7.0 Welcome"
        if line == "AUTH PLAIN" or (line.startswith("AUTH PLAIN") and quirk == "initial response ignored"):
            return "334 "
        if line.startswith("AUTH PLAIN"):
            return "501 5.5.2 No initial response" if quirk == "no initial response" else "235 2.7.0 Welcome"
        return "535 5.7.8 Wrong" if line.startswith("AUTH") else None

    offer = "AUTH=PLAIN" if quirk == "old offer" else "AUTH PLAIN"
    async with QuirkySmtp(answer, offers=(offer,)).listen() as server:
        app = app_for(server, tmp_path, SMTP_USERNAME="ada", SMTP_PASSWORD="secret")
        async with app.run(worker=True):
            assert (await send(app)).status is S.SENT


@pytest.mark.parametrize("quirk", ["prompts", "501", "500", "plain is broken"])
async def test_a_login_goes_step_by_step_and_by_another_mechanism(tmp_path: object, quirk: str) -> None:
    prompts = {"AUTH LOGIN": "Username:", base64.b64encode(b"ada").decode(): "Password:"}

    def answer(_session: Session, line: str) -> str | None:
        if line.startswith("AUTH PLAIN"):
            return {"501": "501 5.5.2 Syntax error", "500": "500 What", "plain is broken": "504 No"}.get(quirk)
        if line.startswith("AUTH LOGIN "):
            return "501 5.5.2 No initial response"
        if line in prompts:
            return f"334 {base64.b64encode(prompts[line].encode()).decode()}"
        return "235 2.7.0 Welcome" if line == base64.b64encode(b"secret").decode() else None

    offered = "AUTH LOGIN" if quirk == "prompts" else "AUTH PLAIN LOGIN"
    async with QuirkySmtp(answer, offers=(offered,)).listen() as server:
        app = app_for(server, tmp_path, SMTP_USERNAME="ada", SMTP_PASSWORD="secret")
        async with app.run(worker=True):
            assert (await send(app)).status is S.SENT
    assert "AUTH LOGIN" in server.sessions[0].commands


async def test_a_wrong_password_is_not_tried_by_every_mechanism(tmp_path: object) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return "535 5.7.8 Wrong" if line.startswith("AUTH") else None

    async with QuirkySmtp(answer, offers=("AUTH PLAIN LOGIN CRAM-MD5",)).listen() as server:
        app = app_for(server, tmp_path, SMTP_USERNAME="ada", SMTP_PASSWORD="secret")
        async with app.run(worker=True):
            assert (await send(app)).status is S.DEFERRED
    assert len([line for session in server.sessions for line in session.commands if line.startswith("AUTH")]) == 1


async def test_a_server_that_knows_only_helo_is_served_where_no_login_is_wanted(tmp_path: object) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return "502 5.5.1 Not implemented" if line.startswith("EHLO") else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path)
        async with app.run(worker=True):
            assert (await send(app)).status is S.SENT
    assert "HELO example.com" in server.sessions[0].commands


@pytest.mark.parametrize(
    ("security", "login", "fix"), [("starttls", "", "SMTP_SECURITY=none"), ("none", "ada", "login")]
)
async def test_a_server_that_knows_only_helo_says_what_it_cannot_do(
    tmp_path: object, security: str, login: str, fix: str
) -> None:
    def answer(_session: Session, line: str) -> str | None:
        return "502 5.5.1 Not implemented" if line.startswith("EHLO") else None

    async with QuirkySmtp(answer).listen() as server:
        more = {"SMTP_USERNAME": login, "SMTP_PASSWORD": "secret"} if login else {}
        app = app_for(server, tmp_path, SMTP_SECURITY=security, **more)
        async with app.run(worker=True):
            email = await send(app)
    assert email.status is S.DEFERRED
    assert email.problem is not None
    assert fix in name_variables(email.problem.hint)
