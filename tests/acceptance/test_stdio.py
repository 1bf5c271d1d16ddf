"""Behaviour that does not depend on transport or database, tested over stdio on SQLite."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

from support.stage import OUTSPOOL, Stage, free_port

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
GARBAGE = [
    b"not json",
    b"\xff\xfe\x00",
    b"{}",
    b"[]",
    b'{"jsonrpc":"2.0","id":7,"method":"no/such"}',
    b'{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"send_email","arguments":[]}}',
    b"[" * 100_000,
    rb'{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"list_emails","arguments":{"tag":"\ud800"}}}',
]


def test_garbage_on_stdin_ends_nothing_and_a_closed_stdin_ends_it_in_peace(stdio: Stage) -> None:
    lines = [
        *GARBAGE,
        json.dumps(INITIALIZE).encode(),
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        *GARBAGE,
        b'{"jsonrpc":"2.0","id":99,"method":"tools/list"}',
    ]
    with subprocess.Popen(
        OUTSPOOL,
        env=dict(stdio.environment),
        cwd=stdio.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as outspool:
        assert outspool.stdin is not None
        assert outspool.stdout is not None
        outspool.stdin.write(b"\n".join(lines) + b"\n")
        outspool.stdin.flush()
        answers = (json.loads(line) for line in outspool.stdout)
        listed = next(answer for answer in answers if answer.get("id") == 99)
        assert len(listed["result"]["tools"]) == 9
        outspool.stdin.close()
        assert outspool.wait(20) == 0


async def test_the_same_idempotency_key_gives_the_same_email_even_at_once(stdio: Stage) -> None:
    asked = stdio.message(idempotency_key=stdio.topic)
    async with stdio.session() as session:
        first, second = await asyncio.gather(session.call("send_email", **asked), session.call("send_email", **asked))
        third = await session.call("send_email", **asked)
        conflict = await session.refused("send_email", **{**asked, "body": "Something else."})
    assert first["id"] == second["id"] == third["id"]
    assert third["status"] == "sent"
    assert conflict.startswith("idempotency_conflict: ")
    assert len(stdio.received()) == 1


async def test_in_doubt_it_is_unknown_and_only_a_retry_sends_it_again_under_the_same_message_id(stdio: Stage) -> None:
    async with stdio.session() as session:
        email = await session.call("send_email", **stdio.message("takedrop-ada@example.com"))
        assert email["status"] == "unknown"
        assert "ask the person first" in email["summary"]
        assert "next_attempt_at" not in email
        assert len(stdio.received()) == 1
        await session.call("retry_email", email_id=email["id"])
        again = await session.until(email["id"], "unknown")
    assert len([event for event in again["events"] if event["status"] == "unknown"]) == 2
    assert [mail.message_id for mail in stdio.received()] == [email["message_id"]] * 2


async def test_refused_for_good_it_is_failed_with_the_reply_and_may_be_tried_again(stdio: Stage) -> None:
    async with stdio.session() as session:
        email = await session.call("send_email", **stdio.message("refuse-ada@example.com"))
        assert email["status"] == "failed"
        assert "550 5.1.1" in email["summary"]
        again = await session.call("retry_email", email_id=email["id"])
        assert again["status"] in ("queued", "sending", "failed")
        assert (await session.until(email["id"], "failed"))["recipients"][0]["code"] == 550


async def test_put_off_by_the_server_it_is_deferred_and_a_retry_tries_at_once(stdio: Stage) -> None:
    async with stdio.session() as session:
        email = await session.call("send_email", **stdio.message(f"once-{stdio.topic}@example.com"))
        assert email["status"] == "deferred"
        next_attempt = datetime.fromisoformat(email["next_attempt_at"])
        assert timedelta(seconds=40) < next_attempt - datetime.now(UTC) < timedelta(seconds=70)
        assert "451 4.7.1" in email["summary"]
        assert not stdio.received()
        await session.call("retry_email", email_id=email["id"])
        sent = await session.until(email["id"], "sent")
    assert sent["attempts"] == 2
    assert len(stdio.received()) == 1


async def test_deferred_while_smtp_is_down_it_survives_a_restart_and_is_sent(stdio: Stage) -> None:
    with stdio.smtp_down():
        async with stdio.session() as session:
            email = await session.call("send_email", **stdio.message())
            assert email["status"] == "deferred"
    async with stdio.session() as session:
        await session.until(email["id"], "sent", max_wait=60)
    assert len(stdio.received()) == 1


async def test_without_an_account_tools_are_listed_and_sending_says_what_is_missing(stdio: Stage) -> None:
    async with stdio.session(SMTP_HOST="", SMTP_PORT="") as session:
        assert len((await session.client.list_tools()).tools) == 9
        text = await session.refused("send_email", **stdio.message())
        assert (await session.call("list_emails", query=stdio.topic))["emails"] == []
    assert text.startswith("not_configured: ")
    assert "GMAIL_APP_PASSWORD" in text


async def test_an_unreachable_database_is_said_without_its_password(stdio: Stage) -> None:
    url = f"postgresql://me:s3cr3t@127.0.0.1:{free_port()}/nowhere"
    async with stdio.session(DATABASE_URL=url) as session:
        for tool, arguments in (("send_email", stdio.message()), ("list_emails", {})):
            text = await session.refused(tool, **arguments)
            assert text.startswith("store_unavailable: ")
            assert "s3cr3t" not in text
    assert "s3cr3t" not in (stdio.folder / "stdio.log").read_text()


async def test_lists_and_numbers_written_as_json_in_a_string_are_understood(stdio: Stage) -> None:
    asked = stdio.message(to='["ada@example.com", "Bob <bob@example.com>"]', cc="eve@example.com", wait="5")
    async with stdio.session() as session:
        email = await session.call("send_email", **asked)
    assert [r["address"] for r in email["recipients"]] == ["ada@example.com", "bob@example.com", "eve@example.com"]


async def test_a_call_that_waits_holds_up_no_other_and_wait_0_returns_at_once(stdio: Stage) -> None:
    async with stdio.session() as session:
        waiting = asyncio.create_task(session.call("send_email", **stdio.message("slow-ada@example.com", wait=30)))
        at_once = await session.call("send_email", **stdio.message("slow-bob@example.com", wait=0))
        assert at_once["status"] in ("queued", "sending")
        await session.call("list_emails")
        assert not waiting.done()
        assert (await waiting)["status"] == "sent"
        await session.until(at_once["id"], "sent")


BAD: list[tuple[str, dict[str, Any]]] = [
    ("invalid_address", {"to": ["ada@example.com, bob@example.com"]}),
    ("invalid_address", {"to": ["ada@example.com\r\nRCPT TO:<eve@example.com>"]}),
    ("invalid_address", {"cc": ["Ada"]}),
    ("invalid_address", {"to": ["x" * 1_000_000 + "@example.com"]}),
    ("invalid_argument", {"to": []}),
    ("invalid_argument", {"subject": "Hi\r\nBcc: eve@example.com"}),
    ("invalid_argument", {"subject": "=?utf-8?q?x=0D=0ABcc=3A_eve=40example.com?="}),
    ("invalid_argument", {"subject": "x" * 10_000_000}),
    ("invalid_argument", {"body": None}),
    ("invalid_argument", {"body": "\x00"}),
    ("invalid_argument", {"headers": {"Bcc": "eve@example.com"}}),
    ("invalid_argument", {"headers": {"X-A\r\nBcc": "eve@example.com"}}),
    ("invalid_argument", {"attachments": ["/etc/passwd"]}),
    ("invalid_schedule", {"scheduled_at": "2030-01-01T09:00:00"}),
    ("invalid_schedule", {"scheduled_at": "2001-01-01T09:00:00Z"}),
    ("invalid_schedule", {"scheduled_at": "9999-12-31T23:59:59Z"}),
    ("invalid_schedule", {"scheduled_at": "2027-03-28T02:30:00", "timezone": "Europe/Berlin"}),
    ("invalid_schedule", {"delay": "PT1H", "scheduled_at": "2030-01-01T09:00:00Z"}),
    ("invalid_schedule", {"delay": "soon"}),
    ("invalid_schedule", {"delay": "-PT1H"}),
    ("invalid_schedule", {"timezone": "Europe/Berlin"}),
]


async def test_bad_input_gets_one_clear_sentence_and_stores_nothing(stdio: Stage) -> None:
    async with stdio.session() as session:
        for code, wrong in BAD:
            if code == "invalid_schedule" or "delay" in wrong:
                text = await session.refused("schedule_email", **{**stdio.message(), **wrong})
            else:
                text = await session.refused("send_email", **{**stdio.message(), **wrong})
            assert text.startswith(f"{code}: "), (wrong if len(str(wrong)) < 200 else list(wrong), text)
            assert len(text) < 500
            assert text.isprintable()
            assert "http" not in text
            assert "internal_error" not in text
        listed = await session.call("list_emails", query=stdio.topic)
    assert listed["emails"] == []
    assert not stdio.received()


async def test_an_id_that_is_none_is_told_from_one_that_is_unknown(stdio: Stage) -> None:
    async with stdio.session() as session:
        for tool in ("get_status", "update_email", "cancel_email", "retry_email"):
            more = {"body": "x"} if tool == "update_email" else {}
            unknown = await session.refused(tool, email_id="01890000-0000-7000-8000-000000000000", **more)
            assert unknown.startswith("not_found: ")
            for wrong in ("", "7", "x" * 100_000, "\r\n", "../../etc/passwd"):
                assert (await session.refused(tool, email_id=wrong, **more)).startswith("invalid_argument: ")


async def test_a_page_ends_where_the_next_begins(stdio: Stage) -> None:
    async with stdio.session() as session:
        ids = [(await session.call("schedule_email", **stdio.message(delay="PT1H")))["id"] for _ in range(5)]
        found: list[str] = []
        cursor = None
        while True:
            page = await session.call("list_emails", query=stdio.topic, limit=2, cursor=cursor)
            found += [email["id"] for email in page["emails"]]
            if (cursor := page.get("next_cursor")) is None:
                break
        for email_id in ids:
            await session.call("cancel_email", email_id=email_id)
    assert found == ids[::-1]
