"""Clients that pass on the text alone: it says all that the next step needs, and nothing that is not so."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, TextContent
from support.smtp_sink import SmtpSink
from support.stage import OUTSPOOL, Session, Stage


async def say(session: Session, tool: str, **arguments: Any) -> str:
    result = await session.client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


@contextmanager
def worker(stage: Stage) -> Iterator[None]:
    """Run ``outspool worker`` beside the client's outspool."""
    with (stage.folder / "worker.log").open("w") as log:
        program = subprocess.Popen(
            [*OUTSPOOL, "worker"], env=dict(stage.environment), cwd=stage.folder, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            program.terminate()
            program.wait(30)


async def test_the_status_names_recipients_times_attachments_and_history(served: Stage) -> None:
    arguments = served.message(
        "ada@example.com",
        "refuse-bob@example.com",
        bcc=["carl@example.com"],
        attachments=[{"filename": "plan.txt", "text": "x"}],
    )
    async with served.session() as session:
        email = await session.call("send_email", **arguments, wait=20)
        text = await say(session, "get_status", email_id=email["id"])
    assert f"Email id: {email['id']}" in text
    assert "To: ada@example.com, refuse-bob@example.com\nBcc: carl@example.com\n" in text
    assert "1 byte)" in text.partition("plan.txt")[2].splitlines()[0]
    assert "- ada@example.com (to): sent" in text
    assert '- refuse-bob@example.com (to): failed; the server said: "550' in text
    assert "accepted" in text.partition("History:")[2]


async def test_a_time_with_a_zone_is_shown_in_it_and_in_utc_wherever_it_is_said(served: Stage) -> None:
    there = (datetime.now(UTC) + timedelta(days=3)).replace(hour=9, minute=0, second=0, microsecond=0)
    async with served.session() as session:
        arguments = served.message(scheduled_at=f"{there:%Y-%m-%dT%H:%M:%S}", timezone="Asia/Tokyo")
        first = await say(session, "schedule_email", **arguments)
        [email] = (await session.call("list_emails", query=served.topic))["emails"]
        listed = await say(session, "list_emails", query=served.topic)
        status = await say(session, "get_status", email_id=email["id"])
        await session.call("cancel_email", email_id=email["id"])
    local = f"{there:%Y-%m-%d} 09:00+09:00 Asia/Tokyo ({there.date()}T00:00:00Z)"
    for text in (first, listed, status):
        assert local in text


async def test_a_batch_gives_the_id_and_the_state_of_each_email(served: Stage) -> None:
    emails = [{"to": f"b{n}@example.com"} for n in range(4)]
    async with served.session() as session:
        text = await say(session, "send_batch", emails=emails, shared={"subject": served.topic, "body": "x"}, wait=0)
        found = (await session.call("list_emails", query=served.topic))["emails"]
    assert all(email["id"] in text for email in found)
    assert all(f"b{n}@example.com" in text for n in range(4))


async def test_a_preview_shows_each_header_as_a_person_would_check_it(served: Stage) -> None:
    arguments = served.message(
        cc=["cc@example.com"],
        bcc=["bcc@example.com"],
        attachments=[{"filename": "a.txt", "text": "x"}],
        delay="PT2H",
        preview=True,
    )
    async with served.session() as session:
        text = await say(session, "schedule_email", **arguments)
    assert "Leaves: " in text
    assert "From: Outspool Test <me@example.com>\nTo: ada@example.com\nCc: cc@example.com\nBcc: bcc@example.com" in text
    assert "Attachments: " in text
    assert "a.txt" in text


async def test_over_stdio_nobody_is_promised_to_send_when_the_app_is_closed(stdio: Stage) -> None:
    async with stdio.session() as session:
        alone = await say(session, "schedule_email", **stdio.message(delay="PT1H"))
        [email] = (await session.call("list_emails", query=stdio.topic))["emails"]
        with worker(stdio):
            async with asyncio.timeout(60):
                while "goes out by itself" not in await say(session, "get_status", email_id=email["id"]):
                    await asyncio.sleep(0.5)
        await session.call("cancel_email", email_id=email["id"])
    assert "if an app that runs outspool is open" in alone
    assert "by itself" not in alone


async def test_a_server_that_sends_says_so(served: Stage) -> None:
    async with served.session() as session:
        text = await say(session, "schedule_email", **served.message(delay="PT1H"))
        [email] = (await session.call("list_emails", query=served.topic))["emails"]
        await session.call("cancel_email", email_id=email["id"])
    assert "It goes out by itself." in text


def test_a_command_without_a_worker_says_that_nobody_sends(stdio: Stage) -> None:
    command = [*OUTSPOOL, "send", "--to", "a@example.com", "--subject", stdio.topic, "--body", "x", "--wait", "0"]
    done = subprocess.run(
        command, check=True, env=dict(stdio.environment), cwd=stdio.folder, capture_output=True, text=True
    )
    assert "No worker is running" in done.stdout
    assert "by itself" not in done.stdout


async def test_a_wrong_password_is_said_with_its_fix_and_not_as_passing(stdio: Stage, tmp_path: Any) -> None:
    with SmtpSink(tmp_path, security="none", username="u", password="right") as sink:
        login = {
            "SMTP_PORT": str(sink.port),
            "SMTP_USERNAME": "u",
            "SMTP_PASSWORD": "wrong",
            "OUTSPOOL_DATA_DIR": str(tmp_path / "data"),
            "DATABASE_URL": f"sqlite:///{tmp_path / 'mail.db'}",
        }
        async with stdio.session(**login) as session:
            text = await say(session, "send_email", **stdio.message(wait=20))
    assert "nothing is sent until a person fixes it" in text
    assert "goes out by itself" not in text


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({"body": "<p>Good day</p>"}, "body holds HTML"),
        ({"html": '<img src="cid:logo">'}, "cid:"),
        ({"html": '<img src="https://pictures.example/a.png">'}, "loads pictures from"),
        ({"html": "<p>x</p><script>alert(1)</script>"}, "holds a script"),
        ({"html": '<p onclick="x()">x</p>'}, "holds a script"),
    ],
)
async def test_content_that_will_not_look_as_meant_draws_a_note(
    served: Stage, content: dict[str, str], note: str
) -> None:
    arguments = {"to": "ada@example.com", "subject": served.topic, **content}
    async with served.session() as session:
        preview = await say(session, "send_email", **arguments, preview=True)
        sent = await session.call("send_email", **arguments, wait=0)
    assert f"Note: {note}" in preview or note in preview.partition("Note: ")[2]
    assert any(note in one for one in sent["notes"])


async def test_ordinary_content_draws_no_note(served: Stage) -> None:
    picture = {"filename": "logo.png", "content": "iVBORw0KGgo=", "content_id": "logo"}
    async with served.session() as session:
        sent = await session.call(
            "send_email", **served.message(html='<p>1 < 2</p><img src="cid:logo">', attachments=[picture], wait=0)
        )
        plain = await session.call("send_email", **served.message(body="if a < b: see <https://example.com>", wait=0))
    assert "notes" not in sent
    assert "notes" not in plain


async def test_part_of_an_address_is_refused_rather_than_found_nowhere(served: Stage) -> None:
    async with served.session() as session:
        refusal = await session.refused("list_emails", recipient="Ada")
    assert "not an address" in refusal


@pytest.mark.parametrize("status", ["held", "bounced"])
async def test_a_status_that_no_email_gets_is_not_offered(served: Stage, status: str) -> None:
    async with served.session() as session:
        tools = {tool.name: tool for tool in (await session.client.list_tools()).tools}
        refusal = await session.refused("list_emails", status=status)
    assert f'"{status}"' not in json.dumps(tools["list_emails"].input_schema)
    assert status not in refusal.partition("one of")[2]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("compose", {"about": "x"}, "no prompt"),
        ("compose_email", {}, "about"),
        ("compose_email", {"about": "x", "whom": "y"}, "whom"),
    ],
)
async def test_a_wrong_request_for_a_prompt_is_refused_in_a_sentence(
    served: Stage, name: str, arguments: dict[str, str], words: str
) -> None:
    async with served.session() as session:
        with pytest.raises(MCPError) as refusal:
            await session.client.get_prompt(name, arguments)
    assert refusal.value.error.code == INVALID_PARAMS
    assert words in refusal.value.error.message
