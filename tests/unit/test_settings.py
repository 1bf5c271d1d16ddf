"""The sources of settings, and settings rejected at start."""

from __future__ import annotations

from pathlib import Path

import pytest

from outspool.app.settings import Settings
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
