"""What clients fill in for arguments that the model did not set: null, "", 10.0, JSON inside strings."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest
from support.stage import Stage

FULL: dict[str, Any] = {
    "cc": ["cc@example.com"],
    "bcc": ["bcc@example.com"],
    "reply_to": ["answers@example.com"],
    "html": "<p>Good day.</p>",
    "in_reply_to": "<parent@example.com>",
    "references": ["<parent@example.com>"],
    "headers": {"X-Project": "42"},
    "tags": ["weekly"],
    "attachments": [{"filename": "a.txt", "text": "x"}],
}
NULLS = dict.fromkeys([*FULL, "to", "body", "from", "priority", "scheduled_at", "timezone", "recurrence", "count"])


async def test_an_update_with_nulls_changes_only_what_it_names(served: Stage) -> None:
    async with served.session() as session:
        email = await session.call("schedule_email", **served.message(**FULL, delay="PT1H"))
        answer = await session.client.call_tool(
            "update_email", {**NULLS, "email_id": email["id"], "subject": "Good night."}
        )
        assert not answer.is_error
        assert answer.content[0].text.startswith("Changed: subject. ")  # type: ignore[union-attr]
        [raw] = (await session.client.read_resource(f"email://{email['id']}/raw")).contents
        await session.call("cancel_email", email_id=email["id"])
    message = message_from_bytes(raw.text.encode(), policy=policy.default)  # type: ignore[union-attr]
    assert message["Cc"] == "cc@example.com"
    assert message["Reply-To"] == "answers@example.com"
    assert message["In-Reply-To"] == "<parent@example.com>"
    assert message["X-Project"] == "42"
    kinds = [part.get_content_type() for part in message.walk()]
    assert "text/html" in kinds
    assert [part.get_filename() for part in message.iter_attachments()] == ["a.txt"]
    assert message["Subject"] == "Good night."
    assert message.get_body(("plain",)).get_content().strip() == "Good day."  # type: ignore[union-attr]


async def test_an_empty_list_or_text_clears_and_the_answer_says_so(served: Stage) -> None:
    empty = {"cc": [], "html": "", "in_reply_to": "", "references": [], "attachments": [], "headers": {}}
    async with served.session() as session:
        email = await session.call("schedule_email", **served.message(**FULL, delay="PT1H"))
        answer = await session.client.call_tool("update_email", {"email_id": email["id"], **empty})
        text: str = answer.content[0].text  # type: ignore[union-attr]
        [raw] = (await session.client.read_resource(f"email://{email['id']}/raw")).contents
        await session.call("cancel_email", email_id=email["id"])
    assert set(text.partition(". ")[0].removeprefix("Cleared: ").split(", ")) == set(empty)
    message = message_from_bytes(raw.text.encode(), policy=policy.default)  # type: ignore[union-attr]
    assert not {"Cc", "In-Reply-To", "References", "X-Project"} & set(message.keys())
    assert message.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    "filled",
    [
        *({name: ""} for name in ("from", "in_reply_to", "references", "headers", "tags", "priority", "template")),
        *({name: ""} for name in ("variables", "idempotency_key", "attachments", "cc", "wait", "preview")),
        *({name: None} for name in ("wait", "preview", "html", "cc", "attachments", "idempotency_key")),
        {
            "attachments": [
                {"filename": "a.txt", "text": "x", "content": "", "path": "", "blob": "", "content_id": None}
            ]
        },
        {"attachments": ['{"filename": "a.txt", "text": "x"}']},
        {"attachments": [{"filename": "empty.txt", "text": ""}]},
        {"wait": 1.0},
    ],
    ids=str,
)
async def test_what_a_client_fills_in_is_no_value(served: Stage, filled: dict[str, Any]) -> None:
    async with served.session() as session:
        result = await session.client.call_tool("send_email", {**served.message(), "wait": 5, **filled})
    assert not result.is_error, result.content


async def test_a_whole_number_may_be_written_with_a_fraction_of_zero(served: Stage) -> None:
    async with served.session() as session:
        await session.call("list_emails", limit=10.0, status="", tag="", cursor="", recipient=None)
        assert "limit" in await session.refused("list_emails", limit=10.5)
