"""The sources of settings, and settings rejected at start."""

from __future__ import annotations

from pathlib import Path

import pytest

from outspool.app.configuration import read_smtp_account
from outspool.app.settings import Settings
from outspool.app.storage import build_rooted_files
from outspool.errors import MisconfiguredError


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an environment of its own."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("OUTSPOOL_DATA_DIR", str(folder))
    return folder


def test_a_clients_folder_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SMTP_HOST=evil.example\nDATABASE_URL=postgresql://app@db/app\n")
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.smtp_host is None
    assert settings.store_url.startswith("sqlite:///")


def test_the_folder_a_command_is_typed_in_wins_over_the_data_directory_and_loses_to_the_environment(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_dir / ".env").write_text("SMTP_HOST=data.example\nEMAIL_FROM=data@example.com\nSMTP_PORT=25\n")
    (tmp_path / ".env").write_text("SMTP_HOST=here.example\nEMAIL_FROM=here@example.com\n")
    monkeypatch.setenv("EMAIL_FROM", "environment@example.com")
    settings = Settings.load(folder=tmp_path)
    assert (settings.smtp_port, settings.smtp_host, settings.email_from) == (
        25,
        "here.example",
        "environment@example.com",
    )


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OUTSPOOL_DATA_DIR", "HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(MisconfiguredError, match="Set OUTSPOOL_DATA_DIR"):
        Settings.load()


def test_a_dotenv_file_that_is_no_text_is_said_in_words(data_dir: Path) -> None:
    (data_dir / ".env").write_bytes("SMTP_HOST=x\n".encode("utf-16"))
    with pytest.raises(MisconfiguredError, match="not UTF-8"):
        Settings.load()


def test_a_value_that_cannot_be_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_PORT", "s3cret")
    with pytest.raises(MisconfiguredError) as refused:
        Settings.load()
    assert "SMTP_PORT" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_an_empty_allowlist_is_refused_rather_than_read_as_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_ALLOWED_RECIPIENTS", "")
    with pytest.raises(MisconfiguredError, match="everybody, or nobody"):
        Settings.load()


@pytest.mark.parametrize(
    ("written", "host", "port", "security"),
    [
        ("smtp.example.com", "smtp.example.com", 587, "starttls"),
        (" smtp.example.com. ", "smtp.example.com", 587, "starttls"),
        ('"smtp.example.com"', "smtp.example.com", 587, "starttls"),
        ("smtp.example.com:2525", "smtp.example.com", 2525, "starttls"),
        ("smtp.example.com:465", "smtp.example.com", 465, "tls"),
        ("smtp://smtp.example.com", "smtp.example.com", 587, "starttls"),
        ("SMTP://smtp.example.com:25/", "smtp.example.com", 25, "starttls"),
        ("smtps://smtp.example.com", "smtp.example.com", 465, "tls"),
        ("ssl://smtp.example.com:465", "smtp.example.com", 465, "tls"),
        ("[::1]", "::1", 587, "starttls"),
        ("[::1]:2525", "::1", 2525, "starttls"),
        ("::1", "::1", 587, "starttls"),
        ("127.0.0.1:1025", "127.0.0.1", 1025, "starttls"),
    ],
)
def test_a_server_is_read_as_people_write_it(
    monkeypatch: pytest.MonkeyPatch, written: str, host: str, port: int, security: str
) -> None:
    monkeypatch.setenv("SMTP_HOST", written)
    account = read_smtp_account(Settings.load())
    assert account is not None
    assert (account.host, account.port, account.security.value) == (host, port, security)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("https://mail.example.com", "is a web address"),
        ("ada@example.com", "has an email address or a login in it"),
        ("smtp://ada:s3cret@smtp.example.com", "has an email address or a login in it"),
        ("smtp.example.com, smtp2.example.com", "is not the name of one server"),
        ("smtp.example.com:s3cret", "is not the name of one server"),
        ("[::1", "is not an address"),
        ("smtp.example.com:99999", "SMTP_PORT must be a whole number from 1 to 65535"),
    ],
)
def test_what_is_no_server_is_said_in_words(monkeypatch: pytest.MonkeyPatch, written: str, said: str) -> None:
    monkeypatch.setenv("SMTP_HOST", written)
    with pytest.raises(MisconfiguredError) as refused:
        Settings.load()
    assert said in refused.value.message
    assert "s3cret" not in str(refused.value)


def test_two_different_ports_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_HOST", "smtp.example.com:2525")
    monkeypatch.setenv("SMTP_PORT", "2525")
    assert Settings.load().smtp_port == 2525
    monkeypatch.setenv("SMTP_PORT", "587")
    with pytest.raises(MisconfiguredError, match="another port than SMTP_PORT"):
        Settings.load()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NONE", "none"),
        ("off", "none"),
        ("ssl", "tls"),
        ("SSL/TLS", "tls"),
        ("TLS", "tls"),
        (" STARTTLS ", "starttls"),
        ("'starttls'", "starttls"),
        ("true", None),
        ("  ", None),
    ],
)
def test_the_security_is_read_as_people_write_it(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str | None
) -> None:
    monkeypatch.setenv("SMTP_SECURITY", written)
    assert Settings.load().smtp_security == meant


def build_all() -> None:
    settings = Settings.load()
    build_rooted_files(settings)
    read_smtp_account(settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SMTP_PORT", "five", "SMTP_PORT must be a whole number from 1 to 65535."),
        ("SMTP_PORT", "0", "SMTP_PORT must be a whole number from 1 to 65535."),
        ("SMTP_PORT", "587.5", "SMTP_PORT must be a whole number from 1 to 65535."),
        ("SMTP_SECURITY", "very", "SMTP_SECURITY must be starttls, tls or none."),
        ("SMTP_CONNECTIONS", "1000", "SMTP_CONNECTIONS must be a whole number from 1 to 100."),
        ("EMAIL_RATE_LIMIT_PER_HOUR", "many", "EMAIL_RATE_LIMIT_PER_HOUR must be a whole number from 1."),
        ("EMAIL_DAILY_QUOTA", "-1", "EMAIL_DAILY_QUOTA must be a whole number from 1."),
        ("EMAIL_MAX_MESSAGE_MB", "nan", "EMAIL_MAX_MESSAGE_MB must be a number above 0, at most 150."),
        ("EMAIL_EXPIRE_AFTER_HOURS", "week", "EMAIL_EXPIRE_AFTER_HOURS must be a number above 0, at most 8760."),
        ("EMAIL_ON_UNKNOWN", "maybe", "EMAIL_ON_UNKNOWN must be hold or resend."),
        ("OUTSPOOL_SANDBOX", "perhaps", "OUTSPOOL_SANDBOX must be true or false."),
        ("OUTSPOOL_USER", "two words", "OUTSPOOL_USER must begin with a letter or digit"),
        ("SMTP_CA_FILE", "/nowhere/ca.pem", "SMTP_CA_FILE names no file."),
        ("SMTP_CA_FILE", "~nobody-here/ca.pem", "SMTP_CA_FILE names the home of a user who does not exist."),
        ("EMAIL_TEMPLATE_DIR", "~nobody-here/x", "EMAIL_TEMPLATE_DIR names the home of a user who does not exist."),
        ("OUTSPOOL_DATA_DIR", "~nobody-here/x", "OUTSPOOL_DATA_DIR names the home of a user who does not exist."),
        ("EMAIL_ATTACHMENT_ROOTS", "~nobody-here/x", "EMAIL_ATTACHMENT_ROOTS: "),
    ],
)
def test_a_value_that_cannot_be_is_said_in_our_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(MisconfiguredError) as refused:
        build_all()
    assert refused.value.message.startswith(said)


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMTP_PORT", "SMTP_SECURITY", "EMAIL_MAX_RETRIES"):
        monkeypatch.setenv(name, "wrong")
    with pytest.raises(MisconfiguredError) as refused:
        Settings.load()
    assert [part.split()[0] for part in refused.value.message.split("; ")] == [
        "SMTP_SECURITY",
        "SMTP_PORT",
        "EMAIL_MAX_RETRIES",
    ]


@pytest.mark.parametrize("written", ["a@x.com,@y.com", "a@x.com; @y.com", "a@x.com\n@y.com", '["a@x.com", "@y.com"]'])
def test_a_list_is_read_with_any_separator(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("EMAIL_DENIED_RECIPIENTS", written)
    assert Settings.load().denied_recipients == ("a@x.com", "@y.com")


def test_units_capitals_and_quotes_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "EMAIL_MAX_MESSAGE_MB": "10 MB",
        "EMAIL_EXPIRE_AFTER_HOURS": "48h",
        "EMAIL_ON_UNKNOWN": "Resend",
        "OUTSPOOL_SANDBOX": " Yes ",
        "EMAIL_FROM": '"Ada <ada@example.com>"',
        "SMTP_PASSWORD": ' "kept" \n',
        "SMTP_HELO_NAME": "192.0.2.1",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert (settings.max_message_mb, settings.expire_after_hours, settings.on_unknown) == (10, 48, "resend")
    assert (settings.sandbox, settings.email_from) == (True, "Ada <ada@example.com>")
    assert settings.smtp_helo_name == "[192.0.2.1]"
    assert settings.smtp_password is not None
    assert settings.smtp_password.get_secret_value() == ' "kept" '


def test_a_name_in_quotes_keeps_its_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMAIL_FROM", '"Doe, Jane" <jane@example.com>')
    assert Settings.load().email_from == '"Doe, Jane" <jane@example.com>'


@pytest.mark.parametrize(
    ("more", "host", "port", "security"),
    [
        ({}, "smtp.gmail.com", 587, "starttls"),
        ({"SMTP_PORT": "465"}, "smtp.gmail.com", 465, "tls"),
        ({"SMTP_HOST": "smtp.gmail.com", "SMTP_PORT": "465"}, "smtp.gmail.com", 465, "tls"),
        ({"SMTP_HOST": "smtp.gmail.com:465"}, "smtp.gmail.com", 465, "tls"),
    ],
)
def test_gmail_is_used_on_the_port_that_is_set(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str], host: str, port: int, security: str
) -> None:
    for name, value in {"GMAIL_EMAIL": "ada@gmail.com", "GMAIL_APP_PASSWORD": "abcd efgh ijkl mnop", **more}.items():
        monkeypatch.setenv(name, value)
    account = read_smtp_account(Settings.load())
    assert account is not None
    assert (account.host, account.port, account.security.value) == (host, port, security)
    assert (account.username, account.password) == ("ada@gmail.com", "abcdefghijklmnop")
