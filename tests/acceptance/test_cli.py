"""The command line, used from a terminal, a script and a supervisor."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.command_line import PATIENCE, Inside, outspool, result
from support.stage import OUTSPOOL, Stage, free_port

from outspool import __version__

_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
_INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@contextmanager
def running(stage: Stage, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that lasts; its stderr is kept in the stage's folder."""
    with (stage.folder / "cli.log").open("a") as log:
        process = subprocess.Popen(
            [*OUTSPOOL, *words],
            env=dict(stage.environment),
            cwd=stage.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def tell(process: subprocess.Popen[str], *messages: dict[str, Any]) -> None:
    """Write messages of the protocol to its stdin."""
    assert process.stdin is not None
    process.stdin.write("".join(json.dumps(message) + "\n" for message in messages))
    process.stdin.flush()


def test_an_email_is_sent_and_its_whole_story_told(stdio: Stage, inside: Inside) -> None:
    sent = outspool(
        stdio,
        *("send", "--to", "Ada <ada@example.com>", "--cc", "grace@example.com", "--subject", stdio.topic),
        *("--body-file", "-", "--tag", stdio.topic),
        given="Grüße, [bold]Ada[/bold]\n",
    )
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.startswith("Sent: the next mail server took it for 2 recipients")
    [mail] = stdio.received()
    assert mail.parsed.get_content().splitlines() == ["Grüße, [bold]Ada[/bold]"]
    [brief] = result(inside("list", "--tag", stdio.topic, "--json"))["emails"]
    listed = outspool(stdio, "list", "--tag", stdio.topic).stdout
    assert brief["id"] in listed
    assert stdio.topic in listed
    story = outspool(stdio, "show", brief["id"]).stdout
    for part in ("grace@example.com", "250 ", "queued", "sending", "sent", mail.message_id or "no message-id"):
        assert part in story


def test_json_is_what_the_tools_return(stdio: Stage, inside: Inside) -> None:
    sent = result(inside("send", "--to", "ada@example.com", "--subject", stdio.topic, "--body", "x", "--json"))
    assert sent["status"] == "sent"
    assert sent["recipients"] == [
        {"address": "ada@example.com", "kind": "to", "status": "sent"} | _reply(sent["recipients"][0])
    ]
    shown = result(inside("show", sent["id"], "--json"))
    assert [event["status"] for event in shown.pop("events")] == ["queued", "sending", "sent"]
    assert shown == sent


def _reply(recipient: dict[str, Any]) -> dict[str, Any]:
    assert recipient["code"] == 250
    return {name: recipient[name] for name in ("code", "enhanced_code", "reply") if name in recipient}


def test_send_exits_with_3_when_a_server_refused(stdio: Stage, inside: Inside) -> None:
    refused = inside(
        *("send", "--to", "ada@example.com", "--to", "refuse-bob@example.com", "--subject", stdio.topic, "--body", "x"),
    )
    assert refused.returncode == 3
    assert 'Refused for refuse-bob@example.com: the server said: "550 5.1.1' in refused.stdout


def test_a_scheduled_email_is_canceled_and_then_cannot_be_retried(stdio: Stage, inside: Inside) -> None:
    at = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="seconds")
    scheduled = result(
        inside("send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x", "--at", at, "--json")
    )
    assert scheduled["status"] == "scheduled"
    assert outspool(stdio, "cancel", scheduled["id"]).stdout.startswith("Canceled: ")
    retried = outspool(stdio, "retry", scheduled["id"])
    assert retried.returncode == 1
    assert retried.stderr.startswith("error: wrong_state: ")
    assert retried.stderr.count("\n") == 1
    assert not stdio.received()


def test_templates_are_listed_and_an_email_is_sent_from_one(stdio: Stage, inside: Inside) -> None:
    listed = inside("templates")
    assert listed.returncode == 0
    assert "notification" in listed.stdout
    names = [template["name"] for template in result(inside("templates", "--json"))["templates"]]
    assert names == ["notification", "report"]
    variables = json.dumps({"title": stdio.topic, "message": "Good day."})
    words = ("send", "--to", "ada@example.com", "--template", "notification", "--variables", variables)
    assert result(inside(*words, "--json"))["status"] == "sent"
    [mail] = stdio.received()
    assert mail.parsed["Subject"] == stdio.topic
    for wrong in ("[]", "{", "x"):
        refused = inside(*words[:-1], wrong)
        assert refused.returncode == 1
        assert "--variables is no object in JSON." in refused.stderr


def test_a_failed_email_is_queued_again_by_retry(stdio: Stage, inside: Inside) -> None:
    message = ("--to", "data550-a@example.com", "--subject", stdio.topic, "--body", "x")
    failed = result(inside("send", *message, "--json"))
    assert failed["status"] == "failed"
    assert result(inside("retry", failed["id"], "--json"))["status"] == "queued"
    assert result(inside("cancel", failed["id"], "--json"))["status"] == "canceled"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("show", "1"), "error: invalid_argument: "),
        (("show", "01a20320-2fdf-76e7-a5d3-92d65c2c3aaa"), "error: not_found: "),
        (("list", "--status", "gone"), "error: invalid_argument: "),
        (("send", "--to", "nobody", "--body", "x"), "error: invalid_address: "),
        (("send", "--to", "a@example.com"), "error: invalid_argument: "),
        (("send", "--to", "a@example.com", "--body", "x", "--delay", "soon"), "error: invalid_schedule: "),
        (("send", "--to", "a@example.com", "--body-file", "/none"), "error: invalid_argument: "),
        (("serve", "--host", "0.0.0.0"), "error: misconfigured: "),
    ],
)
def test_a_refusal_is_one_line_on_stderr(inside: Inside, words: tuple[str, ...], complaint: str) -> None:
    refused = inside(*words)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith(complaint)
    assert refused.stderr.count("\n") == 1


def test_sandbox_before_the_command_is_refused_and_nothing_is_sent(stdio: Stage, inside: Inside) -> None:
    refused = inside("--sandbox", "send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x")
    assert refused.returncode == 2
    assert "outspool send --sandbox" in " ".join(refused.stderr.split())
    assert not stdio.received()


def test_settings_that_cannot_be_are_told_without_the_secret(stdio: Stage) -> None:
    refused = outspool(stdio, "worker", SMTP_USERNAME="", SMTP_PASSWORD="hunter2", SMTP_HOST="smtp.example.com")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: misconfigured: An SMTP login needs both")
    assert "hunter2" not in refused.stderr


def test_a_worker_without_an_account_refuses_to_start(stdio: Stage) -> None:
    refused = outspool(stdio, "worker", SMTP_HOST="")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: not_configured: No SMTP account is set")
    assert "GMAIL_APP_PASSWORD" in refused.stderr


def test_an_unreachable_database_is_one_sentence(stdio: Stage) -> None:
    url = f"postgresql://ada:hunter2@127.0.0.1:{free_port()}/outspool"
    refused = outspool(stdio, "list", DATABASE_URL=url)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: store_unavailable: ")
    assert "hunter2" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_migrate_says_whether_there_was_work(stdio: Stage, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'outspool.db'}"
    assert outspool(stdio, "migrate", DATABASE_URL=url).stdout == "The database was brought up to date.\n"
    assert outspool(stdio, "migrate", DATABASE_URL=url).stdout == "The database is up to date.\n"


def test_on_a_terminal_it_prints_help_instead_of_waiting(stdio: Stage) -> None:
    leader, terminal = pty.openpty()
    try:
        done = subprocess.run(
            OUTSPOOL, env=dict(stdio.environment), stdin=terminal, capture_output=True, timeout=PATIENCE, check=False
        )
    finally:
        os.close(leader)
        os.close(terminal)
    assert done.returncode == 0
    assert b"serve" in done.stdout
    assert b"approve" not in done.stdout


def test_a_closed_pipe_is_no_error(stdio: Stage) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*OUTSPOOL, "list"], env=dict(stdio.environment), stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.stderr == b""


def test_the_version_is_the_packages(stdio: Stage) -> None:
    assert outspool(stdio, "--version").stdout == f"outspool {__version__}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_worker_finishes_what_is_on_the_wire(stdio: Stage, inside: Inside, number: signal.Signals) -> None:
    slow = result(inside("send", *_slow(stdio), "--wait", "0", "--json"))
    with running(stdio, "worker") as worker:
        inside.until(slow["id"], "sending")
        worker.send_signal(number)
        assert worker.wait(PATIENCE) == 0
    assert inside.until(slow["id"], "sent")["attempts"] == 1
    assert len(stdio.received()) == 1


def _slow(stage: Stage) -> tuple[str, ...]:
    return ("--to", "slow-ada@example.com", "--subject", stage.topic, "--body", "x")


def test_over_stdio_sigterm_finishes_what_is_on_the_wire_although_stdin_is_open(stdio: Stage, inside: Inside) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": "send_email", "arguments": {**stdio.message("slow-ada@example.com"), "wait": 0}},
    }
    with running(stdio) as server:
        tell(server, _INITIALIZE, _INITIALIZED, call)
        assert server.stdout is not None
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]
        email_id = answers[1]["result"]["structuredContent"]["id"]
        inside.until(email_id, "sending")
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) == 0
        assert server.stdout.read() == ""
    assert inside.until(email_id, "sent")["attempts"] == 1


def test_over_stdio_what_is_due_is_sent_though_the_client_never_calls_a_tool(stdio: Stage, inside: Inside) -> None:
    inside("send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x", "--wait", "0")
    with running(stdio) as server:
        tell(server, _INITIALIZE)
        deadline = time.monotonic() + PATIENCE
        while not stdio.received():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_without_a_worker_nothing_is_sent(stdio: Stage, inside: Inside) -> None:
    inside("send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x", "--wait", "0")
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_emails", "arguments": {}}}
    with running(stdio, "--no-worker") as server:
        tell(server, _INITIALIZE, _INITIALIZED, call)
        assert server.stdout is not None
        _, answer = (json.loads(server.stdout.readline()) for _ in range(2))
        assert answer["result"]["structuredContent"]["counts"]["queued"] >= 1
    assert not stdio.received()
    [brief] = result(inside("list", "--query", stdio.topic, "--json"))["emails"]
    inside("cancel", brief["id"])


def _hear_interrupts() -> None:
    """Undo that what a shell starts in the background ignores SIGINT, and what that starts, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_wait_says_that_the_email_is_accepted(stdio: Stage, inside: Inside) -> None:
    command = [*OUTSPOOL, "send", *_slow(stdio)]
    stdio.sink.fail(message="hold")
    with subprocess.Popen(
        command,
        env=dict(stdio.environment),
        cwd=stdio.folder,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - no thread of this test holds a lock
    ) as sending:
        deadline = time.monotonic() + PATIENCE
        while not (found := result(inside("list", "--query", stdio.topic, "--json"))["emails"]):
            assert time.monotonic() < deadline
        inside.until(found[0]["id"], "sending")
        sending.send_signal(signal.SIGINT)
        stdio.sink.fail()
        _, complaint = sending.communicate(timeout=PATIENCE)
    assert sending.returncode == 130
    assert complaint == f"Accepted, and not canceled: see `outspool show {found[0]['id']}`.\n"
    assert inside.until(found[0]["id"], "sent")["attempts"] == 1


def test_a_series_is_made_listed_paused_resumed_and_canceled(inside: Inside) -> None:
    rule = ("--recurrence", "0 9 * * mon", "--timezone", "Europe/Berlin", "--until", "2199-12-31", "--count", "5")
    sent = inside("send", "--to", "ann@example.com", "--subject", inside.stage.topic, "--body", "Hi", *rule, "--json")
    series = result(sent)
    assert series["status"] == "recurring"
    name = series["id"]
    shown = inside("show", name).stdout
    assert "0 9 * * mon in Europe/Berlin, until " in shown
    assert "5 times" in shown
    assert name in inside("list", "--status", "recurring").stdout
    assert result(inside("list", "--series", name, "--json"))["emails"] == []
    assert result(inside("pause", name, "--json"))["status"] == "paused"
    assert result(inside("resume", name, "--json"))["scheduled_at"] == series["scheduled_at"]
    assert result(inside("cancel", name, "--json"))["status"] == "canceled"
    assert inside("pause", name).returncode != 0
