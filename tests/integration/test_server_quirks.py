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


async def test_the_same_refusal_on_a_fresh_connection_counts(tmp_path: object) -> None:
    def answer(session: Session, line: str) -> str | None:
        return "452 4.4.5 Maximum number of messages per session exceeded" if line == "DATA" else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0")
        async with app.run(worker=True):
            email = await send(app)
    assert (email.status, email.attempts) == (S.FAILED, 1)


@pytest.mark.parametrize(
    "reply", ["452 Too many recipients", "552 Too many recipients", "452 #4.5.3 Too many", "452 4.5.3 x"]
)
async def test_more_recipients_than_a_message_may_have_go_in_the_next_one(tmp_path: object, reply: str) -> None:
    def answer(session: Session, line: str) -> str | None:
        return reply if line.startswith("RCPT") and session.recipients >= 3 else None

    async with QuirkySmtp(answer).listen() as server:
        app = app_for(server, tmp_path, EMAIL_MAX_RETRIES="0")
        async with app.run(worker=True):
            email = await send(app, *(f"r{n}@example.com" for n in range(7)))
            while email.status is S.DEFERRED or email.status is S.QUEUED:
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
