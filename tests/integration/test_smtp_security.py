"""TLS and login: verified before a message is sent, explained when they fail, without secrets."""

from __future__ import annotations

import asyncio
import errno
import ssl
import traceback
from typing import TYPE_CHECKING

import pytest
from support.smtp_delivery import deliver, verdicts
from support.smtp_sink import SmtpSink

from outspool.adapters.smtp.errors import explain_missing_starttls, explain_refusal, explain_unreachable
from outspool.adapters.smtp.transport import Security, SmtpAccount, SmtpTransport, Timeouts
from outspool.api.errors import name_variables
from outspool.domain.delivery import Phase, Verdict, parse_reply
from outspool.domain.setting import Setting
from outspool.errors import AccountTrouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "me@example.com", "correct-horse-battery"
SHORT = Timeouts(connect=1, command=1)


def transport_to(
    sink: SmtpSink,
    security: Security,
    *,
    login: tuple[str, str] | None = (USER, PASSWORD),
    trusts: bool = True,
    host: str = "localhost",
    timeouts: Timeouts | None = None,
) -> SmtpTransport:
    username, password = login or (None, None)
    account = SmtpAccount(host=host, port=sink.port, security=security, username=username, password=password)
    context = ssl.create_default_context(cafile=str(sink.ca_file) if trusts else None)
    return SmtpTransport(account, tls_context=context, timeouts=timeouts)


async def trouble_of(transport: SmtpTransport) -> AccountTrouble:
    with pytest.raises(AccountTrouble) as raised:
        await deliver(transport, "a@x.com")
    with pytest.raises(AccountTrouble) as checked:
        await transport.check()
    assert str(checked.value) == str(raised.value)
    return raised.value


@pytest.fixture(scope="module")
def starttls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path_factory.mktemp("s"), security="starttls", username=USER, password=PASSWORD) as sink:
        yield sink


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path_factory.mktemp("t"), security="tls", username=USER, password=PASSWORD) as sink:
        yield sink


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path_factory.mktemp("p")) as sink:
        yield sink


@pytest.fixture
def starttls(starttls_server: SmtpSink) -> SmtpSink:
    starttls_server.clear()
    return starttls_server


@pytest.fixture
def tls(tls_server: SmtpSink) -> SmtpSink:
    tls_server.clear()
    return tls_server


@pytest.fixture
def plain(plain_server: SmtpSink) -> SmtpSink:
    plain_server.clear()
    return plain_server


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_message_goes_encrypted_and_logged_in(
    starttls: SmtpSink, tls: SmtpSink, security: Security, host: str
) -> None:
    sink = starttls if security is Security.STARTTLS else tls
    transport = transport_to(sink, security, host=host)
    await transport.check()
    assert verdicts(await deliver(transport, "a@x.com")) == {"a@x.com": Verdict.TAKEN}
    await transport.close()
    [mail] = sink.messages()
    assert mail.tls
    assert mail.user == USER


async def test_the_system_authorities_may_be_named_by_ssl_cert_file(
    starttls: SmtpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(starttls.ca_file))
    account = SmtpAccount(
        host="localhost", port=starttls.port, security=Security.STARTTLS, username=USER, password=PASSWORD
    )
    await SmtpTransport(account).check()


async def test_login_is_possible_without_tls_on_loopback(tmp_path: Path) -> None:
    with SmtpSink(tmp_path, username=USER, password=PASSWORD) as sink:
        transport = transport_to(sink, Security.NONE, trusts=False)
        await deliver(transport, "a@x.com")
        await transport.close()
        [mail] = sink.messages()
    assert (mail.tls, mail.user) == (False, USER)


@pytest.mark.parametrize("host", ["smtp.example.com", "192.0.2.1", "localhost.example.com"])
def test_login_without_tls_is_refused_off_loopback(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        SmtpAccount(host=host, port=25, security=Security.NONE, username=USER, password=PASSWORD)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    starttls: SmtpSink, tls: SmtpSink, security: Security
) -> None:
    sink = starttls if security is Security.STARTTLS else tls
    trouble = await trouble_of(transport_to(sink, security, trusts=False))
    assert trouble.kind is TroubleKind.TLS
    assert trouble.message.startswith(f"The certificate of localhost:{sink.port} is not trusted: ")
    assert "issuer" in trouble.message or "self-signed" in trouble.message
    assert "SMTP_CA_FILE" in name_variables(trouble.hint)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_not_trusted(
    tmp_path_factory: pytest.TempPathFactory, security: Security, host: str
) -> None:
    folder = tmp_path_factory.mktemp("mismatch")
    with SmtpSink(folder, security=security.value, certificate_names=("mail.example",)) as sink:
        trouble = await trouble_of(transport_to(sink, security, login=None, host=host))
    assert trouble.kind is TroubleKind.TLS
    assert "mismatch" in trouble.message
    assert "SMTP_HOST" in name_variables(trouble.hint)


async def test_starttls_is_never_done_without(plain: SmtpSink) -> None:
    trouble = await trouble_of(transport_to(plain, Security.STARTTLS, login=None, trusts=False))
    assert trouble.kind is TroubleKind.TLS
    assert "does not offer STARTTLS" in trouble.message
    assert plain.messages() == []


async def test_none_never_upgrades(starttls: SmtpSink) -> None:
    with pytest.raises(AccountTrouble, match="530 Must issue a STARTTLS command first") as raised:
        await deliver(transport_to(starttls, Security.NONE, login=None), "a@x.com")
    assert raised.value.kind is TroubleKind.LOGIN
    assert "SMTP_SECURITY=starttls" in name_variables(raised.value.hint)


@pytest.mark.parametrize("fault", ["454 4.7.0 TLS not available", "drop", "stall"])
async def test_starttls_that_fails_is_trouble_with_tls(starttls: SmtpSink, fault: str) -> None:
    starttls.fail(starttls=fault)
    timeouts = SHORT if fault == "stall" else None
    trouble = await trouble_of(transport_to(starttls, Security.STARTTLS, timeouts=timeouts))
    assert trouble.kind is TroubleKind.TLS
    assert str(starttls.port) in trouble.message


async def test_tls_towards_a_starttls_port_hints_at_starttls(starttls: SmtpSink) -> None:
    trouble = await trouble_of(transport_to(starttls, Security.TLS))
    assert trouble.kind is TroubleKind.TLS
    assert "SMTP_SECURITY=starttls" in name_variables(trouble.hint)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.NONE])
async def test_starttls_towards_a_tls_port_hints_at_tls(tls: SmtpSink, security: Security) -> None:
    trouble = await trouble_of(transport_to(tls, security, login=None, timeouts=SHORT))
    assert trouble.kind is TroubleKind.NETWORK
    assert "said nothing" in trouble.message
    assert "SMTP_SECURITY=tls" in name_variables(trouble.hint)


async def test_a_wrong_password_is_named(starttls: SmtpSink) -> None:
    transport = transport_to(starttls, Security.STARTTLS, login=(USER, "wrong-secret"))
    trouble = await trouble_of(transport)
    assert trouble.kind is TroubleKind.LOGIN
    assert '"535 5.7.8 Authentication credentials invalid"' in trouble.message
    assert "SMTP_PASSWORD" in name_variables(trouble.hint)


@pytest.mark.parametrize(
    ("refusal", "attempts"),
    [("535 5.7.8 Wrong", ["AUTH PLAIN"]), ("504 5.5.4 Not this way", ["AUTH PLAIN", "AUTH LOGIN"])],
)
async def test_a_password_is_tried_again_only_where_the_mechanism_was_refused(
    refusal: str, attempts: list[str]
) -> None:
    heard: list[str] = []
    find_silent_drop = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode():
            heard.append(" ".join(line.split()[:2]))
            greets = line.startswith("EHLO")
            writer.write(b"250-here\r\n250 AUTH LOGIN PLAIN\r\n" if greets else f"{refusal}\r\n".encode())
        writer.close()
        await writer.wait_closed()
        find_silent_drop.set()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        account = SmtpAccount(host="127.0.0.1", port=port, security=Security.NONE, username=USER, password=PASSWORD)
        with pytest.raises(AccountTrouble, match="refused the login"):
            await SmtpTransport(account).check()
        await find_silent_drop.wait()
    assert heard[1:] == attempts


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("535 5.7.8 Username and Password not accepted", TroubleKind.LOGIN),
        ("534 5.7.9 Application-specific password required", TroubleKind.LOGIN),
        ("454 4.7.0 Too many login attempts, please try again later", TroubleKind.THROTTLED),
        ("421 4.7.0 Too many connections", TroubleKind.THROTTLED),
        ("504 5.5.4 Unrecognized authentication type", TroubleKind.LOGIN),
        ("drop", TroubleKind.NETWORK),
        ("stall", TroubleKind.NETWORK),
    ],
)
async def test_a_login_that_fails_means(starttls: SmtpSink, fault: str, kind: TroubleKind) -> None:
    starttls.fail(auth=fault)
    transport = transport_to(starttls, Security.STARTTLS, timeouts=SHORT if fault == "stall" else None)
    assert (await trouble_of(transport)).kind is kind
    starttls.fail()
    await transport.check()


async def test_a_server_without_login_is_named(plain: SmtpSink) -> None:
    trouble = await trouble_of(transport_to(plain, Security.NONE, trusts=False))
    assert trouble.kind is TroubleKind.LOGIN
    assert "offers no login" in trouble.message
    assert "SMTP_USERNAME" in name_variables(trouble.hint)


@pytest.mark.parametrize(
    ("host", "said", "hint"),
    [
        ("smtp.gmail.com", "535 5.7.8 Username and Password not accepted", "GMAIL_APP_PASSWORD"),
        ("smtp.gmail.com", "534 5.7.9 Application-specific password required", "2-Step Verification"),
        ("smtp.example.com", "534 5.7.9 Application-specific password required", "app password"),
        ("smtp.office365.com", "535 5.7.139 Authentication unsuccessful, disabled", "Authenticated SMTP"),
        ("smtp.example.com", "535 5.7.8 No", "SMTP_PASSWORD"),
    ],
)
def test_a_refused_login_comes_with_its_cure(host: str, said: str, hint: str) -> None:
    account = SmtpAccount(
        host=host,
        port=587,
        security=Security.STARTTLS,
        username=USER,
        password=PASSWORD,
        password_setting=Setting.GMAIL_PASSWORD if "gmail" in host else Setting.MAIL_PASSWORD,
    )
    code, _, text = said.partition(" ")
    trouble = explain_refusal(account, Phase.LOGIN, parse_reply(int(code), text))
    assert trouble.kind is TroubleKind.LOGIN
    assert trouble.message == f'{host}:587 refused the login; the server said: "{said}".'
    assert hint in name_variables(trouble.hint)


@pytest.mark.parametrize("failure", [ConnectionRefusedError(errno.ECONNREFUSED, "refused"), TimeoutError()])
def test_who_is_kept_from_gmail_on_one_port_hears_of_the_other(failure: OSError) -> None:
    login = {"security": Security.STARTTLS, "username": USER, "password": PASSWORD}
    blocked = explain_unreachable(SmtpAccount(host="smtp.gmail.com", port=587, **login), Phase.CONNECT, failure)  # type: ignore[arg-type]
    assert "Gmail also listens on port 465: set SMTP_PORT=465" in name_variables(blocked.hint)
    elsewhere = explain_unreachable(SmtpAccount(host="smtp.example.com", port=587, **login), Phase.CONNECT, failure)  # type: ignore[arg-type]
    assert "Gmail" not in elsewhere.hint


@pytest.mark.parametrize(
    ("host", "login", "fix"),
    [
        ("127.0.0.1", None, "SMTP_SECURITY=none"),
        ("localhost", None, "SMTP_SECURITY=none"),
        ("relay.internal", None, "SMTP_SECURITY=none"),
        ("smtp.example.com", (USER, PASSWORD), "SMTP_SECURITY=tls"),
    ],
)
def test_a_server_without_starttls_comes_with_the_security_to_set(
    host: str, login: tuple[str, str] | None, fix: str
) -> None:
    username, password = login or (None, None)
    account = SmtpAccount(host=host, port=25, security=Security.STARTTLS, username=username, password=password)
    hint = name_variables(explain_missing_starttls(account).hint)
    assert fix in hint
    assert ("SMTP_SECURITY=none" in hint) == (login is None), "a login never crosses a network unencrypted"


@pytest.mark.parametrize(
    "echo",
    [
        PASSWORD,
        "AUTH PLAIN AG1lQGV4YW1wbGUuY29tAGNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==",
        "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
    ],
)
async def test_the_password_is_in_no_error_even_if_the_server_echoes_it(starttls: SmtpSink, echo: str) -> None:
    starttls.fail(auth=f"535 5.7.8 What is {echo}")
    transport = transport_to(starttls, Security.STARTTLS)
    with pytest.raises(AccountTrouble) as raised:
        await transport.check()
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + str(raised.value)
    assert "535 5.7.8 What is" in shown
    assert echo not in shown
    assert PASSWORD not in shown


def test_the_password_is_in_no_repr() -> None:
    account = SmtpAccount(host="localhost", port=25, security=Security.TLS, username=USER, password=PASSWORD)
    assert PASSWORD not in repr(account) + str(account) + repr(SmtpTransport(account))


@pytest.mark.parametrize(
    ("host", "port", "login"),
    [
        ("", 25, (None, None)),
        ("a b", 25, (None, None)),
        ("a\r\nb", 25, (None, None)),
        ("a", 0, (None, None)),
        ("a", 65536, (None, None)),
        ("a", 25, ("u", None)),
        ("a", 25, (None, "p")),
    ],
)
def test_an_account_that_cannot_work_is_refused(host: str, port: int, login: tuple[str | None, str | None]) -> None:
    with pytest.raises(ValueError, match="SMTP"):
        SmtpAccount(host=host, port=port, security=Security.TLS, username=login[0], password=login[1])
