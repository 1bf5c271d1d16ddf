"""A `.env` that another user may have written is ignored, and no secret goes to a host that only a folder names."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stage import OUTSPOOL

from outspool.app.settings import Settings, env_files
from outspool.errors import MisconfiguredError

SECRET = "hunter2-hunter2"
HOST = "SMTP_HOST=planter.example\nSMTP_USERNAME=ada\n"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions are lists there")
only_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can make a stranger's file")


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("OUTSPOOL_DATA_DIR", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("PGPASSWORD", "PGPASSFILE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return the folder in which a command is typed; anybody may write to it."""
    folder = tmp_path / "here"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def put(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / ".env"
    file.write_text(text)
    file.chmod(mode)
    return file


class Planter:
    """A listener that keeps every byte it is sent, and plays a mail server that takes any login."""

    def __init__(self) -> None:
        self.heard = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            with line:
                line.sendall(b"220 planter\r\n")
                while data := line.recv(4096):
                    self.heard += data
                    is_hello = data.upper().startswith(b"EHLO")
                    line.sendall(b"250-planter\r\n250 AUTH PLAIN LOGIN\r\n" if is_hello else b"235 welcome\r\n")


@pytest.fixture
def planter() -> Iterator[Planter]:
    listener = Planter()
    yield listener
    listener.close()


def doctor(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder.parent / "home"), **environment}
    command = [*OUTSPOOL, "doctor"]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)


def planted(planter: Planter) -> str:
    host = f"SMTP_HOST=127.0.0.1\nSMTP_PORT={planter.port}\nSMTP_SECURITY=none\n"
    return f"{host}EMAIL_ALLOWED_RECIPIENTS=@planter.example\n"


@only_root
def test_doctor_sends_no_password_to_a_host_that_another_user_planted(
    here: Path, data_dir: Path, planter: Planter
) -> None:
    put(data_dir, f"SMTP_HOST=mail.invalid\nSMTP_USERNAME=ada\nSMTP_PASSWORD={SECRET}\nEMAIL_FROM=ada@example.com\n")
    os.chown(put(here, planted(planter), 0o644), 12345, 12345)
    found = doctor(here, OUTSPOOL_DATA_DIR=str(data_dir))
    assert planter.heard == b""
    assert f"{here / '.env'} is ignored: it belongs to another user" in found.stdout
    assert "planter.example" not in found.stdout
    assert SECRET not in found.stdout + found.stderr


def test_doctor_sends_no_password_of_the_data_directory_to_a_host_that_the_folder_names(
    here: Path, data_dir: Path, planter: Planter
) -> None:
    put(data_dir, f"SMTP_HOST=mail.invalid\nSMTP_USERNAME=ada\nSMTP_PASSWORD={SECRET}\nEMAIL_FROM=ada@example.com\n")
    put(here, planted(planter))
    found = doctor(here, OUTSPOOL_DATA_DIR=str(data_dir))
    assert planter.heard == b""
    assert found.returncode == 1
    assert "SMTP_HOST is set by the .env of this folder, and SMTP_PASSWORD comes from elsewhere" in found.stdout


@only_root
@pytest.mark.parametrize("place", ["here", "data_dir"])
def test_a_file_of_another_user_is_ignored_and_said_so(
    request: pytest.FixtureRequest, here: Path, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = put(request.getfixturevalue(place), HOST)
    os.chown(file, 12345, 0)
    assert Settings.load(folder=here).smtp_host is None
    assert f"{file} is ignored: it belongs to another user." in caplog.text
    os.chown(file, 0, 0)
    assert Settings.load(folder=here).smtp_host == "planter.example"


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666, 0o606, 0o660, 0o777])
def test_a_file_that_others_may_write_to_is_ignored(here: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    put(here, HOST, mode)
    assert Settings.load(folder=here).smtp_host is None
    assert "other users may write to it; run chmod go-w on it" in caplog.text


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o640, 0o400])
def test_a_file_that_only_we_can_write_to_is_obeyed(here: Path, mode: int) -> None:
    put(here, HOST, mode)
    assert Settings.load(folder=here).smtp_host == "planter.example"


@only_root
def test_a_link_that_another_user_made_is_not_followed_even_to_a_file_of_ours(here: Path, tmp_path: Path) -> None:
    ours = put(tmp_path, HOST)
    (here / ".env").symlink_to(ours)
    os.chown(here / ".env", 12345, 12345, follow_symlinks=False)
    assert Settings.load(folder=here).smtp_host is None
    os.chown(here / ".env", 0, 0, follow_symlinks=False)
    assert Settings.load(folder=here).smtp_host == "planter.example"


@only_root
def test_a_link_of_ours_to_a_file_of_another_user_is_not_followed(here: Path, tmp_path: Path) -> None:
    theirs = put(tmp_path, HOST)
    os.chown(theirs, 12345, 12345)
    (here / ".env").symlink_to(theirs)
    assert Settings.load(folder=here).smtp_host is None


@pytest.mark.timeout(20)
def test_a_folder_a_device_or_a_pipe_that_others_may_write_to_holds_nothing_up(here: Path) -> None:
    file = here / ".env"
    file.mkdir()
    assert env_files(here).ignored
    file.rmdir()
    file.symlink_to("/dev/zero")
    assert env_files(here).ignored
    file.unlink()
    os.mkfifo(file)
    file.chmod(0o666)
    assert env_files(here).ignored


def test_a_pipe_of_our_own_is_read_as_password_managers_need_it(here: Path) -> None:
    os.mkfifo(here / ".env", 0o600)
    writer = threading.Thread(target=(here / ".env").write_text, args=(HOST,))
    writer.start()
    assert Settings.load(folder=here).smtp_host == "planter.example"
    writer.join(10)


def test_a_file_without_end_is_ignored(here: Path) -> None:
    put(here, HOST + "#" * 1_000_001)
    assert Settings.load(folder=here).smtp_host is None


STRAYS = {
    "a mail server": ("SMTP_HOST=planter.example", {"SMTP_PASSWORD": SECRET}),
    "a mail server in small letters": ("smtp_host=planter.example", {"SMTP_PASSWORD": SECRET}),
    "another port of this machine": ("SMTP_PORT=2525", {"SMTP_HOST": "localhost", "SMTP_PASSWORD": SECRET}),
    "a place for attachments": (
        "AWS_ENDPOINT_URL=https://planter.example\nAWS_BUCKET_NAME=b\nAWS_ACCESS_KEY_ID=k",
        {"AWS_SECRET_ACCESS_KEY": SECRET},
    ),
    "a place for attachments, with the machine's own keys": (
        "AWS_ENDPOINT_URL=https://planter.example\nAWS_BUCKET_NAME=b",
        {},
    ),
    "a database": ("DATABASE_URL=postgresql://app@planter.example/app", {"PGPASSWORD": SECRET}),
    "a database and a service": ("DATABASE_URL=postgresql://app@planter.example/app?service=mine", {}),
    "a secret by its name": ("SMTP_HOST=planter.example\nSMTP_PASSWORD=", {"SMTP_PASSWORD": SECRET}),
}


@pytest.mark.parametrize("case", STRAYS)
@pytest.mark.parametrize("place", ["environment", "data directory"])
def test_no_secret_from_elsewhere_goes_to_a_host_that_the_folder_names(
    here: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, case: str, place: str
) -> None:
    text, elsewhere = STRAYS[case]
    put(here, text)
    if place == "environment" or "PGPASSWORD" in elsewhere:
        for name, value in elsewhere.items():
            monkeypatch.setenv(name, value)
    else:
        put(data_dir, "".join(f"{name}={value}\n" for name, value in elsewhere.items()))
    with pytest.raises(MisconfiguredError, match=r"is set by the \.env of this folder") as refused:
        Settings.load(folder=here)
    assert SECRET not in str(refused.value)
    Settings.load(folder=None)  # in no folder nothing is refused


def test_a_password_for_any_database_is_not_sent_to_one_that_the_folder_names(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(here, "DATABASE_URL=postgresql://app@planter.example/app")
    passwords = tmp_path / "passwords"
    passwords.write_text(f"db.example:5432:app:app:{SECRET}\n")
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    assert Settings.load(folder=here).database_url
    passwords.write_text(f"*:*:*:*:{SECRET}\n")
    with pytest.raises(MisconfiguredError, match=r"DATABASE_URL is set by the \.env of this folder"):
        Settings.load(folder=here)


def test_a_folder_cannot_move_a_secret_of_the_environment_into_what_it_sends(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_SECRET", SECRET)
    put(here, "SMTP_HOST=planter.example\nSMTP_USERNAME=${OTHER_SECRET}\nSMTP_PASSWORD=${OTHER_SECRET:-none}\n")
    settings = Settings.load(folder=here)
    assert settings.smtp_password is not None
    assert settings.smtp_username is None
    assert settings.smtp_password.get_secret_value() == "none"


KEPT = {
    "all in the folder": (f"{HOST}SMTP_PASSWORD={SECRET}", {}, {}),
    "host in the client's configuration, password in the data directory": (
        "",
        {"SMTP_HOST": "mail.example", "SMTP_USERNAME": "ada"},
        {"SMTP_PASSWORD": SECRET},
    ),
    "host in the environment wins over the folder's": (HOST, {"SMTP_HOST": "mail.example"}, {"SMTP_PASSWORD": SECRET}),
    "the folder names the host that the data directory names": (
        "SMTP_HOST=mail.example",
        {},
        {"SMTP_HOST": "mail.example", "SMTP_PASSWORD": SECRET},
    ),
    "another port of a server elsewhere": (
        "SMTP_PORT=465",
        {"SMTP_HOST": "mail.example", "SMTP_PASSWORD": SECRET},
        {},
    ),
    "the password in the folder": (f"SMTP_PASSWORD={SECRET}", {"SMTP_HOST": "mail.example"}, {}),
    "a limit in the folder": ("EMAIL_RATE_LIMIT_PER_HOUR=5", {"SMTP_PASSWORD": SECRET}, {}),
    "a value made of another": (f"NAME=mail\nSMTP_HOST=${{NAME}}.example\nSMTP_PASSWORD={SECRET}", {}, {}),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_said_in_one_place_or_by_those_we_trust_still_works(
    here: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, environment, data = KEPT[case]
    put(here, text)
    put(data_dir, "".join(f"{name}={value}\n" for name, value in data.items()))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load(folder=here)
    assert settings.smtp_password is not None
    assert settings.smtp_password.get_secret_value() == SECRET


def test_the_data_directory_may_be_the_folder(data_dir: Path) -> None:
    put(data_dir, f"SMTP_HOST=mail.example\nSMTP_PASSWORD={SECRET}")
    assert env_files(data_dir).folder is None
    assert Settings.load(folder=data_dir).smtp_host == "mail.example"


def test_the_data_directory_may_use_the_environment(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSWER", "mail")
    put(data_dir, "SMTP_HOST=${ANSWER}.example")
    assert Settings.load().smtp_host == "mail.example"


@pytest.mark.parametrize("place", ["here", "data_dir"])
def test_an_empty_allowlist_in_a_file_is_refused_too(request: pytest.FixtureRequest, here: Path, place: str) -> None:
    put(request.getfixturevalue(place), "EMAIL_ALLOWED_RECIPIENTS= ,")
    with pytest.raises(MisconfiguredError, match="everybody, or nobody"):
        Settings.load(folder=here)


@pytest.mark.parametrize("name", ["SMTP_CA_FILE", "SSL_CERT_FILE"])
def test_a_folder_names_no_authorities_for_a_password_from_elsewhere(
    here: Path, data_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.chmod(0o700)
    monkeypatch.delenv(name, raising=False)
    put(here, f"{name}=/tmp/ca.pem\n")
    put(data_dir, f"SMTP_HOST=smtp.example.com\nSMTP_USERNAME=ada\nSMTP_PASSWORD={SECRET}\n")
    with pytest.raises(MisconfiguredError, match=f"{name} is set by"):
        Settings.load(folder=here)
    put(data_dir, f"GMAIL_EMAIL=ada@gmail.com\nGMAIL_APP_PASSWORD={SECRET}\n")
    with pytest.raises(MisconfiguredError, match=f"{name} is set by"):
        Settings.load(folder=here)
    put(here, f"{name}=/tmp/ca.pem\nSMTP_HOST=smtp.example.com\nSMTP_USERNAME=ada\nSMTP_PASSWORD=own\n")
    put(data_dir, "")
    assert Settings.load(folder=here).smtp_host == "smtp.example.com"


def test_a_port_on_this_machine_is_no_place_for_a_password_from_elsewhere_however_the_host_is_written(
    here: Path, data_dir: Path
) -> None:
    here.chmod(0o700)
    put(here, "SMTP_PORT=2525\n")
    for host in ("[::1]", "localhost.", "smtp://127.0.0.1"):
        put(data_dir, f"SMTP_HOST={host}\nSMTP_USERNAME=ada\nSMTP_PASSWORD={SECRET}\n")
        with pytest.raises(MisconfiguredError, match="SMTP_PORT is set by"):
            Settings.load(folder=here)
