"""Each common problem, caused for real, is reported by `doctor` with its fix."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.smtp_sink import SmtpSink

from outspool.adapters.files.disk_check import disk_state
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.tables import emails
from outspool.adapters.system_clock import SystemClock
from outspool.api.errors import name_variables
from outspool.app.examination import build_doctor
from outspool.app.runtime import Outspool
from outspool.domain.schedule import When
from outspool.errors import TroubleKind
from outspool.ports.account import AccountState
from outspool.ports.database import DatabaseHealth, DiskState, SchemaState
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.doctor.findings import Finding, Level
from outspool.services.doctor.queue_checks import check_database, check_disk

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]

SECRET = "hunter2-hunter2"
ADA = EmailRequest(to=["ada@example.com"], subject="s", body="b")


class TenSecondsAhead(SystemClock):
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=10)


async def examined(app: Outspool, *, offline: bool = False) -> dict[str, Finding]:
    """Return the findings by name; no name may come twice."""
    findings = [finding async for finding in build_doctor(app, offline=offline).examine()]
    assert len({finding.name for finding in findings}) == len(findings), findings
    assert SECRET not in repr(findings)
    return {finding.name: finding for finding in findings}


def levels(findings: dict[str, Finding]) -> set[Level]:
    return {finding.level for finding in findings.values()}


async def change(url: str, statement: sa.Executable) -> None:
    async with Database(url).open_until_exit() as database:
        await database.write(lambda connection: connection.execute(statement))


async def test_all_is_well_while_somebody_dispatches(outspool: OpenOutspool, database_url: str) -> None:
    async with outspool() as app:
        email = await app.outbox.accept(ADA)
        assert (await app.outbox.wait_for_outcome(email, max_wait=10)).status == "sent"
        findings = await examined(app)
    assert levels(findings) == {Level.OK}, findings
    assert f":{os.getpid()} (" in findings["dispatching"].finding
    assert findings["migrations"].finding.startswith("The schema is up to date")
    assert ("clock" in findings) == database_url.startswith("postgres")


async def test_a_wrong_password_is_a_refused_login(outspool: OpenOutspool, tmp_path: Path) -> None:
    spool = tmp_path / "guarded"
    spool.mkdir()
    with SmtpSink(spool, username="ada", password="right") as guarded:
        async with outspool(worker=False, SMTP_PORT=guarded.port, SMTP_USERNAME="ada", SMTP_PASSWORD=SECRET) as app:
            login = (await examined(app))["smtp login"]
    assert login.level is Level.FAIL
    assert "refused the login" in login.finding
    assert "SMTP_PASSWORD" in name_variables(login.fix)


async def test_a_closed_port_and_an_unknown_name_are_told_apart(outspool: OpenOutspool, sink: SmtpSink) -> None:
    sink.stop()
    async with outspool(worker=False) as app:
        closed = (await examined(app))["smtp login"]
        assert "smtp login" not in await examined(app, offline=True)
    async with outspool(worker=False, SMTP_HOST="smtp.invalid") as app:
        unknown = (await examined(app))["smtp login"]
    assert closed.level is unknown.level is Level.FAIL
    assert "nothing listens there" in closed.finding
    assert "cannot be looked up" in unknown.finding


async def test_no_account_is_a_failure_and_the_cure_names_the_variables(outspool: OpenOutspool) -> None:
    async with outspool(worker=False, SMTP_HOST=None, GMAIL_EMAIL="ada@gmail.com") as app:
        account = (await examined(app))["account"]
    assert account.level is Level.FAIL
    assert "GMAIL_APP_PASSWORD" in name_variables(account.fix)


async def test_a_broken_template_and_a_folder_that_is_none_are_warned_of(
    outspool: OpenOutspool, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "order.txt").write_text("{% if %}")
    async with outspool(worker=False, EMAIL_TEMPLATE_DIR=tmp_path / "mine") as app:
        broken = (await examined(app, offline=True))["templates"]
    async with outspool(worker=False, EMAIL_TEMPLATE_DIR=tmp_path / "none") as app:
        missing = (await examined(app, offline=True))["templates"]
    async with outspool(worker=False) as app:
        shipped = (await examined(app, offline=True))["templates"]
    assert broken.level is missing.level is Level.WARN
    assert broken.finding.startswith("order is broken: order.txt, line 1: ")
    assert name_variables(missing.finding).startswith("EMAIL_TEMPLATE_DIR is ")
    assert (shipped.level, shipped.finding) == (Level.OK, "notification, report.")


async def test_a_sender_that_gmail_would_replace_is_warned_of(outspool: OpenOutspool) -> None:
    gmail = {"SMTP_HOST": None, "GMAIL_EMAIL": "ada@gmail.com", "GMAIL_APP_PASSWORD": SECRET}
    async with outspool(worker=False, **gmail) as app:
        assert (await examined(app, offline=True))["sender"].level is Level.WARN
    async with outspool(worker=False, **gmail | {"EMAIL_FROM": "Ada <Ada@gmail.com>"}) as app:
        assert (await examined(app, offline=True))["sender"].level is Level.OK


async def test_misspelt_settings_are_named_also_those_in_a_file(
    outspool: OpenOutspool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("EMAIL_ALOWED_RECIPIENTS=@example.com\n")
    monkeypatch.chdir(tmp_path)
    async with outspool(worker=False) as app:
        found = (await examined(app, offline=True))["settings"]
    assert found.level is Level.WARN
    assert found.finding.startswith("EMAIL_ALOWED_RECIPIENTS is no setting")
    assert found.fix == "Did you mean EMAIL_ALLOWED_RECIPIENTS?"


async def test_an_empty_database_is_fine_and_stays_empty(outspool: OpenOutspool, database_url: str) -> None:
    async with outspool(worker=False) as app:
        findings = await examined(app)
    assert levels(findings) == {Level.OK}
    assert "empty" in findings["migrations"].finding
    async with Database(database_url).open_until_exit() as database:
        assert database.is_postgres or not database.sqlite_path.exists()


async def test_a_schema_that_this_outspool_does_not_know_fails(outspool: OpenOutspool, database_url: str) -> None:
    async with outspool(worker=False) as app:
        await app.migrate()
        await change(database_url, sa.text("UPDATE outspool_version SET version_num = 'f00d'"))
        unknown = (await examined(app))["migrations"]
        await change(database_url, sa.text("DROP TABLE outspool_version"))
        unversioned = (await examined(app))["migrations"]
    assert unknown.level is unversioned.level is Level.FAIL
    assert '"f00d"' in unknown.finding
    assert "Upgrade outspool" in unknown.fix
    assert "outspool_version is missing" in unversioned.finding


def test_a_schema_that_is_behind_is_cured_by_migrate() -> None:
    behind = DatabaseHealth(schema=SchemaState.BEHIND, revision="0000", seconds=0.001)
    [_, migrations] = check_database("SQLite, here", behind, now=datetime.now(UTC))
    assert migrations.level is Level.WARN
    assert "outspool migrate" in migrations.fix


async def test_clocks_that_differ_are_shown(outspool: OpenOutspool, postgres_url: str) -> None:
    async with outspool(worker=False, clock=TenSecondsAhead(), DATABASE_URL=postgres_url) as app:
        clock = (await examined(app))["clock"]
    assert clock.level is Level.WARN
    assert "10 s apart" in clock.finding


async def test_due_emails_that_nobody_sends_fail(outspool: OpenOutspool) -> None:
    async with outspool(worker=False) as app:
        await app.outbox.accept(ADA, when=When(delay="PT2H"))
        later = (await examined(app))["dispatching"]
        await app.outbox.accept(ADA)
        due = (await examined(app))["dispatching"]
    assert later.level is Level.WARN
    assert due.level is Level.FAIL
    assert due.finding == "Nobody is sending, and 1 email is due."
    assert "outspool worker" in due.fix


async def test_emails_due_for_long_and_emails_in_doubt_are_told(outspool: OpenOutspool, database_url: str) -> None:
    async with outspool() as app:
        doubtful = await app.outbox.accept(EmailRequest(to=["takedrop-ada@example.com"], subject="s", body="b"))
        assert (await app.outbox.wait_for_outcome(doubtful, max_wait=10)).status == "unknown"
    async with outspool(worker=False) as app:
        await app.outbox.accept(ADA)
        assert (await examined(app))["queue"].level is Level.OK
        await change(database_url, emails.update().values(due_at=datetime.now(UTC) - timedelta(minutes=7)))
        findings = await examined(app)
    assert findings["queue"].level is Level.WARN
    assert "1 email is due, the oldest for 7 min" in findings["queue"].finding
    assert findings["unknown"].level is Level.WARN
    assert "outspool retry ID" in findings["unknown"].fix


async def test_a_pause_is_ended_once_the_login_works(outspool: OpenOutspool, sink: SmtpSink) -> None:
    sink.fail(greeting="554 5.7.1 Not you")
    async with outspool() as app:
        email = await app.outbox.accept(ADA)
        assert (await app.outbox.wait_for_outcome(email, max_wait=10)).status == "deferred"
    async with outspool(worker=False) as app:
        await rest(app, TroubleKind.LOGIN)
        before = await examined(app)
        assert (await app.breaker.refresh()).is_paused(datetime.now(UTC))
        sink.fail()
        mended = (await examined(app))["pause"]
        assert not app.breaker.state.is_paused(datetime.now(UTC)), "a worker beside it would go on resting"
        assert not (await app.account.state()).is_paused(datetime.now(UTC))
        assert "pause" not in await examined(app)
    assert before["smtp login"].level is Level.FAIL
    assert before["pause"].level is Level.WARN
    assert before["pause"].fix == "Mend it."
    assert mended.level is Level.OK
    assert mended.finding.endswith("The login works now, so the pause was ended.")


async def test_a_pause_that_the_servers_limit_made_is_left_alone(outspool: OpenOutspool) -> None:
    async with outspool(worker=False) as app:
        await rest(app, TroubleKind.THROTTLED)
        assert (await examined(app))["pause"].level is Level.WARN
        assert (await app.account.state()).is_paused(datetime.now(UTC))


async def rest(app: Outspool, kind: TroubleKind) -> None:
    until = datetime.now(UTC) + timedelta(minutes=10)
    await app.account.swap(
        await app.account.state(),
        AccountState(paused_until=until, failures=1, kind=kind, message="It is ill.", hint="Mend it."),
    )


async def test_a_folder_that_cannot_be_one_fails(outspool: OpenOutspool, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert check_disk(disk_state(tmp_path / "file" / "data")).level is Level.FAIL
    assert check_disk(disk_state(tmp_path / "new")).level is Level.OK
    assert not (tmp_path / "new").exists()
    assert check_disk(DiskState(folder="/x", free_bytes=1000)).level is Level.FAIL


def doctor(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``outspool doctor`` as a person does whose home is `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "outspool", "doctor", *options],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "OUTSPOOL_DATA_DIR": str(folder), **variables},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_the_command_prints_a_line_each_and_exits_with_0_when_nothing_fails(tmp_path: Path, sink: SmtpSink) -> None:
    done = doctor(
        tmp_path, SMTP_HOST=sink.host, SMTP_PORT=str(sink.port), SMTP_SECURITY="none", EMAIL_FROM="ada@example.com"
    )
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert all(line.startswith("ok    ") for line in done.stdout.splitlines()), done.stdout


def test_the_command_outlives_an_unreachable_database_and_keeps_the_secret(tmp_path: Path, sink: SmtpSink) -> None:
    sink.stop()
    url = f"postgresql://ada:{SECRET}@127.0.0.1:{sink.port}/outspool?password={SECRET}"
    done = doctor(tmp_path, DATABASE_URL=url, SMTP_HOST=sink.host, SMTP_PORT=str(sink.port), SMTP_SECURITY="none")
    assert done.returncode == 1
    assert f"FAIL  database     Postgres, 127.0.0.1:{sink.port}/outspool" in done.stdout
    assert "FAIL  smtp login" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"SMTP_HOST": "smtp.example.com", "SMTP_PASSWORD": SECRET},
        {"SMTP_PORT": SECRET},
        {"DATABASE_URL": f"mysql://ada:{SECRET}@db/outspool"},
        {"DATABASE_URL": f"postgresql://ada:{SECRET}#x@127.0.0.1/outspool"},
        {"EMAIL_FROM": "nobody", "GMAIL_EMAIL": "ada@gmail.com", "GMAIL_APP_PASSWORD": SECRET},
        {"EMAIL_DENIED_RECIPIENTS": "*", "SMTP_HOST": "smtp.example.com"},
    ],
)
def test_settings_that_cannot_be_are_a_line_without_the_secret(tmp_path: Path, variables: dict[str, str]) -> None:
    done = doctor(tmp_path, "--offline", **variables)
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert " → " in done.stdout or "SMTP_PORT" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


async def test_an_app_password_that_is_none_draws_a_remark(outspool: OpenOutspool) -> None:
    gmail = {"SMTP_HOST": None, "GMAIL_EMAIL": "ada@gmail.com"}
    async with outspool(worker=False, **gmail, GMAIL_APP_PASSWORD=SECRET) as app:
        odd = (await examined(app, offline=True))["password"]
    async with outspool(worker=False, **gmail, GMAIL_APP_PASSWORD="abcd efgh ijkl mnop") as app:
        assert "password" not in await examined(app, offline=True)
    assert odd.level is Level.WARN
    assert name_variables(odd.finding).startswith("GMAIL_APP_PASSWORD is not 16 letters")
    assert "apppasswords" in odd.fix


async def test_it_says_where_the_settings_and_which_account_were_read(
    outspool: OpenOutspool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("EMAIL_FROM=me@example.com\n")
    monkeypatch.chdir(tmp_path)
    async with outspool(worker=False) as app:
        findings = await examined(app, offline=True)
    assert findings["source"].finding == f"Settings are read from the environment and {tmp_path / '.env'}."
    assert "through 127.0.0.1:" in findings["account"].finding


CLAUDE = Path(".config/Claude/claude_desktop_config.json")


def configure(home: Path, place: Path, text: str) -> None:
    (home / place).parent.mkdir(parents=True, exist_ok=True)
    (home / place).write_text(text)


def entry(sink: SmtpSink, **more: str) -> dict[str, object]:
    env = {"SMTP_HOST": sink.host, "SMTP_PORT": str(sink.port), "SMTP_SECURITY": "none", **more}
    return {"command": "uvx", "args": ["outspool"], "env": env}


@pytest.mark.skipif(sys.platform != "linux", reason="clients keep their files elsewhere on other systems")
@pytest.mark.parametrize(
    ("place", "key", "client"),
    [
        (CLAUDE, "mcpServers", "Claude Desktop"),
        (Path(".claude.json"), "mcpServers", "Claude Code"),
        (Path(".cursor/mcp.json"), "mcpServers", "Cursor"),
        (Path(".config/Code/User/mcp.json"), "servers", "VS Code"),
    ],
)
def test_it_checks_what_a_client_runs_with(tmp_path: Path, sink: SmtpSink, place: Path, key: str, client: str) -> None:
    configure(tmp_path, place, json.dumps({key: {"mail": entry(sink, EMAIL_FROM="ada@example.com"), "other": {}}}))
    done = doctor(tmp_path)
    assert done.returncode == 0, done.stdout
    assert f'Settings are read from {client}, server "mail" in {tmp_path / place}.' in done.stdout
    assert f"through {sink.host}:{sink.port}" in done.stdout
    assert done.stdout.count(" source ") == 1, "this terminal names no account"


@pytest.mark.skipif(sys.platform != "linux", reason="clients keep their files elsewhere on other systems")
def test_it_checks_each_configuration_once_and_prints_no_secret(tmp_path: Path, sink: SmtpSink) -> None:
    login = {"SMTP_USERNAME": "ada@example.com", "SMTP_PASSWORD": SECRET}
    configure(tmp_path, CLAUDE, json.dumps({"mcpServers": {"a": entry(sink, **login), "b": entry(sink, **login)}}))
    configure(tmp_path, Path(".cursor/mcp.json"), json.dumps({"mcpServers": {"c": entry(sink)}}))
    own = {"SMTP_HOST": sink.host, "SMTP_PORT": str(sink.port), "SMTP_SECURITY": "none", "EMAIL_FROM": "me@example.com"}
    done = doctor(tmp_path, **own)
    sources = [line for line in done.stdout.splitlines() if " source " in line]
    assert 'server "a"' in sources[1]
    assert 'the same in Claude Desktop, server "b"' in sources[1]
    assert [("environment" in s, "Claude" in s, "Cursor" in s) for s in sources] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert done.returncode == 1, "that server offers no login"
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="clients keep their files elsewhere on other systems")
@pytest.mark.parametrize(
    "text",
    [
        '{"mcpServers": ',
        "[]",
        '{"mcpServers": 7}',
        '{"mcpServers": {"a": {"command": "outspool", "env": 7, "args": 7}, "b": 7, "c": {"url": "http://x/outspool/"}}}',
        "[" * 100_000,
    ],
)
def test_a_broken_client_configuration_breaks_nothing(tmp_path: Path, sink: SmtpSink, text: str) -> None:
    configure(tmp_path, CLAUDE, text)
    own = {"SMTP_HOST": sink.host, "SMTP_PORT": str(sink.port), "SMTP_SECURITY": "none", "EMAIL_FROM": "me@example.com"}
    done = doctor(tmp_path, **own)
    assert "Traceback" not in done.stderr
    assert " source       Settings are read from the environment." in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="clients keep their files elsewhere on other systems")
def test_a_configuration_that_others_can_write_is_passed_over(tmp_path: Path, sink: SmtpSink) -> None:
    configure(tmp_path, CLAUDE, json.dumps({"mcpServers": {"a": entry(sink)}}))
    (tmp_path / CLAUDE).chmod(0o666)
    done = doctor(tmp_path, "--offline")
    assert "Claude Desktop" not in done.stdout
    assert "is passed over: other users may write to it" in done.stderr
    (tmp_path / CLAUDE).chmod(0o664)
    assert "Claude Desktop" in doctor(tmp_path, "--offline").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="clients keep their files elsewhere on other systems")
def test_comments_and_references_are_read_and_what_the_client_asks_for_is_left_out(
    tmp_path: Path, sink: SmtpSink
) -> None:
    text = """{
      // VS Code allows comments
      "servers": {"mail": {"command": "outspool", "env": {
        "SMTP_HOST": "127.0.0.1", "SMTP_PORT": "${env:MY_PORT}", "SMTP_SECURITY": "none", /* and these */
        "EMAIL_FROM": "${input:address}", "SMTP_HELO_NAME": "https://not-a-comment",
      }}},
    }"""
    configure(tmp_path, Path(".config/Code/User/mcp.json"), text)
    done = doctor(tmp_path, "--offline", MY_PORT=str(sink.port))
    assert "SMTP_HELO_NAME" in done.stdout, "the slashes in a text are no comment"
    configure(tmp_path, Path(".config/Code/User/mcp.json"), text.replace("https://not-a-comment", "mail.example.com"))
    done = doctor(tmp_path, "--offline", MY_PORT=str(sink.port))
    assert f"through 127.0.0.1:{sink.port}" in done.stdout
    assert "No sender is set" in done.stdout


def test_its_object_for_programs_has_every_finding(tmp_path: Path, sink: SmtpSink) -> None:
    done = doctor(tmp_path, "--json", SMTP_HOST=sink.host, SMTP_PORT=str(sink.port), SMTP_SECURITY="starttls")
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"]) == (1, False)
    [checked] = told["checked"]
    assert checked["source"] == "the environment"
    by_name = {finding["name"]: finding for finding in checked["findings"]}
    assert {frozenset(finding) for finding in checked["findings"]} == {frozenset({"level", "name", "finding", "fix"})}
    assert (by_name["source"]["level"], by_name["source"]["fix"]) == ("ok", None)
    assert by_name["smtp login"]["level"] == "fail"
    assert "SMTP_SECURITY=none" in by_name["smtp login"]["fix"]


async def test_a_fix_is_said_once(outspool: OpenOutspool, tmp_path: Path, sink: SmtpSink) -> None:
    sink.fail(greeting="554 5.7.1 Not you")
    own = {"SMTP_HOST": sink.host, "SMTP_PORT": str(sink.port), "SMTP_SECURITY": "none", "EMAIL_FROM": "me@example.com"}
    async with outspool(DATABASE_URL=f"sqlite:///{tmp_path / 'outspool.db'}") as app:
        await app.outbox.wait_for_outcome(await app.outbox.accept(ADA), max_wait=10)
    done = await asyncio.to_thread(doctor, tmp_path, **own)
    fixes = [line.split(" → ")[1] for line in done.stdout.splitlines() if " → " in line]
    assert " pause " in done.stdout
    assert len(fixes) == len(set(fixes)), done.stdout


WITHOUT_S3 = "import sys; sys.modules['aioboto3'] = None; from outspool.cli import main; main()"


def test_a_bucket_without_its_library_is_told_offline_and_by_serve(tmp_path: Path, sink: SmtpSink) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OUTSPOOL_DATA_DIR": str(tmp_path)}
    environment |= {"SMTP_HOST": sink.host, "EMAIL_FROM": "me@example.com", "AWS_BUCKET_NAME": "mail"}

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WITHOUT_S3, *words]
        return subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    with start("doctor", "--offline") as checking:
        out, _ = checking.communicate()
    assert "FAIL  attachments  AWS_BUCKET_NAME is set, but the libraries for S3 are not installed." in out
    assert "outspool[s3]" in out
    with start("serve", "--port", "0") as serving:
        assert serving.stderr is not None
        line = next(line for line in serving.stderr if "S3" in line)
        serving.terminate()
    assert "AWS_BUCKET_NAME is set, but the libraries for S3 are not installed." in line
