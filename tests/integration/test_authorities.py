"""A certificate of one's own authority is trusted when a `.env` names the file, and never without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.smtp_sink import SmtpSink

from outspool.api.errors import name_variables
from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.domain.status import EmailStatus
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.findings import Level

S = EmailStatus


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpSink]:
    with SmtpSink(tmp_path_factory.mktemp("tls"), security="starttls") as sink:
        yield sink


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: SmtpSink) -> Path:
    for name in ("SSL_CERT_FILE", "SMTP_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OUTSPOOL_DATA_DIR", str(tmp_path))
    write(tmp_path, f"SMTP_HOST=localhost:{server.port}\nEMAIL_FROM=me@example.com\n")
    return tmp_path


def write(data_dir: Path, text: str) -> None:
    file = data_dir / ".env"
    file.write_text((file.read_text() if file.exists() else "") + text)
    file.chmod(0o600)


@pytest.mark.parametrize("name", ["SMTP_CA_FILE", "SSL_CERT_FILE"])
async def test_a_file_of_authorities_works_from_an_env_file(data_dir: Path, server: SmtpSink, name: str) -> None:
    write(data_dir, f"{name}={server.ca_file}\n")
    app = Outspool(Settings.load())
    async with app.run(worker=True):
        email = await app.outbox.accept(EmailRequest(to=["ada@example.com"], subject="s", body="b"))
        email = await app.outbox.wait_for_outcome(email, max_wait=30)
    assert email.status is S.SENT


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not trusted"),
        ("no certificate", "cannot be used to check the certificate"),
        ("", "cannot be used to check the certificate"),
    ],
)
async def test_without_a_usable_one_the_fix_names_the_setting(data_dir: Path, content: str | None, said: str) -> None:
    if content is not None:
        (data_dir / "ca.pem").write_text(content)
        write(data_dir, f"SMTP_CA_FILE={data_dir / 'ca.pem'}\n")
    app = Outspool(Settings.load())
    async with app.run(worker=False):
        findings = [finding async for finding in build_doctor(app, offline=False).examine()]
    [login] = [finding for finding in findings if finding.name == "smtp login"]
    assert login.level is Level.FAIL
    assert said in login.finding
    assert "SMTP_CA_FILE" in name_variables(login.fix)
