"""What models and clients write in their own way is read where it leaves no doubt, else refused with every fault."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from support.stage import Stage

ADDED_BY_N8N = {"toolCallId": "call_1", "sessionId": "1", "action": "sendMessage", "chatInput": "hi", "tool": "x"}
FILES = [{"filename": "a.pdf", "content": "hello world"}, {"filename": "b", "path": "/etc/passwd"}]
INVITATION = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nPRODID:-//t//t//EN\r\nEND:VCALENDAR\r\n"


async def test_a_call_without_anything_hears_of_everything_that_is_missing(stage: Stage) -> None:
    async with stage.session() as session:
        for tool in ("send_email", "schedule_email"):
            said = await session.refused(tool)
            assert said.startswith(
                "invalid_argument: to and subject are required. The email has neither body nor html. Give"
            )


@pytest.mark.parametrize(
    ("tool", "wrong", "faults"),
    [
        (
            "schedule_email",
            {"to": ["bob", "eve@"], "scheduled_at": "2027-07-01T09:00:00", "timezone": "GMT+2", "in_reply_to": "a b"},
            ['"bob" has no @', '"eve@"', "write 2027-07-01T09:00:00+02:00", "in_reply_to"],
        ),
        (
            "schedule_email",
            {"delay": "PT0S", "idempotency_key": "ü", "tags": ["a b"], "headers": {"Bcc": "x@x.com"}},
            ["delay", "idempotency_key", "tags", "headers"],
        ),
        (
            "send_email",
            {"template": "nosuch", "body": None, "to": ["bob"], "from": "eve@elsewhere.com"},
            ["nosuch", '"bob" has no @', "from: this server sends as"],
        ),
        (
            "send_email",
            {"cc": ["x y@x.com"], "attachments": [{"filename": "a/b", "text": "x"}, {"filename": "c"}]},
            ["cc: ", "is a path", "attachments[1] has nothing to attach"],
        ),
        (
            "send_email",
            {
                "attachments": [
                    {"filename": "a.pdf", "content": "hello world"},
                    {"filename": "b", "path": "/etc/passwd"},
                ]
            },
            ["attachments[0].content is not base64", "This server sends no files by path"],
        ),
    ],
)
async def test_faults_that_are_found_late_are_said_together(
    served: Stage, tool: str, wrong: dict[str, Any], faults: list[str]
) -> None:
    async with served.session() as session:
        said = await session.refused(tool, **{k: v for k, v in served.message(**wrong).items() if v is not None})
    assert [fault for fault in faults if fault not in said] == [], said


async def test_a_batch_hears_of_each_email_at_fault(served: Stage) -> None:
    emails = [served.message("bob"), served.message(), served.message(tags=["a b"]), served.message("x@", at="9:00")]
    async with served.session() as session:
        said = await session.refused("send_batch", emails=emails)
        assert 'emails[3]: unknown argument "at". "scheduled_at" is an argument of schedule_email' in said
        said = await session.refused("send_batch", emails=emails[:3])
    assert 'emails[0]: to: "bob" has no @' in said
    assert "emails[2]: tags" in said
    assert "emails[1]" not in said
    assert served.received() == []


async def test_a_list_hears_of_each_filter_that_is_wrong(served: Stage) -> None:
    wrong = {"created_after": "2026-01-31", "cursor": "x", "series": "y", "query": "a\nb"}
    async with served.session() as session:
        said = await session.refused("list_emails", **wrong)
    for fault in ("created_after", "cursor is not one of ours", '"y" is not an email id', "query"):
        assert fault in said


async def test_an_update_hears_of_its_time_and_its_content_together(served: Stage) -> None:
    async with served.session() as session:
        email = await session.call("schedule_email", **served.message(delay="PT1H"))
        said = await session.refused("update_email", email_id=email["id"], to=["bob"], delay="PT0S")
        await session.call("cancel_email", email_id=email["id"])
    assert '"bob" has no @' in said
    assert "delay" in said


async def test_what_n8n_cursor_and_cline_add_is_dropped(served: Stage) -> None:
    async with served.session() as session:
        result = await session.client.call_tool("send_email", {**served.message(wait=20), **ADDED_BY_N8N})
        sent = result.structured_content or {}
        assert sent["status"] == "sent"
        await session.call("list_templates", random_string="dummy", anything=[1])
        await session.call("get_status", email_id=sent["id"], task_progress="- [x] sent", _meta={"userId": "1"})
        wrong = {**served.message(schedule_at="9:00"), **ADDED_BY_N8N}
        refusal = await session.client.call_tool("send_email", wrong)
        assert refusal.is_error
        assert 'unknown argument "schedule_at"' in refusal.content[0].text  # type: ignore[union-attr]


async def test_an_invitation_keeps_its_method(served: Stage) -> None:
    files = [
        {"filename": "a.ics", "text": INVITATION},
        {"filename": "b.ics", "content": base64.b64encode(INVITATION.encode()).decode()},
        {"filename": "c.ics", "text": INVITATION, "content_type": "text/calendar; method=REQUEST"},
    ]
    async with served.session() as session:
        await session.call("send_email", **served.message(wait=20, attachments=files))
    [mail] = served.received()
    kinds = [part["Content-Type"] for part in mail.parsed.iter_attachments()]
    assert [(kind.params["method"], kind.params["charset"]) for kind in kinds] == [("REQUEST", "utf-8")] * 3


@pytest.mark.parametrize(
    ("timezone", "scheduled_at"),
    [("Eastern Standard Time", "2027-07-01T13:00:00Z"), ("europe/berlin", "2027-07-01T07:00:00Z")],
)
async def test_a_zone_is_taken_by_windows_name(served: Stage, timezone: str, scheduled_at: str) -> None:
    local = {"scheduled_at": "2027-07-01T09:00:00", "timezone": timezone, "preview": True}
    async with served.session() as session:
        assert (await session.call("schedule_email", **served.message(**local)))["scheduled_at"] == scheduled_at


async def test_a_thread_is_taken_as_a_header_writes_it(served: Stage) -> None:
    ids = [f"<m{n}@example.com>" for n in range(120)]
    async with served.session() as session:
        thread = {"references": "\r\n ".join(ids), "in_reply_to": "<ABC123>\n"}
        await session.call("send_email", **served.message(wait=20, **thread))
    [mail] = served.received()
    assert mail.parsed["References"].split() == [ids[0], *ids[21:], "<ABC123>"]
    assert mail.parsed["In-Reply-To"] == "<ABC123>"
