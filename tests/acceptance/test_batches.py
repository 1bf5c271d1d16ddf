"""Batches through a real MCP client to a real SMTP server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp_types import TextContent
from support.stage import Stage


def batch(stage: Stage, *recipients: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of a batch whose emails `received` can find."""
    return {
        "emails": [{"to": to, "idempotency_key": f"{stage.topic}-{n}"} for n, to in enumerate(recipients)],
        "shared": {"subject": stage.topic, "body": "Good day.", "tags": ["news"], **more},
    }


async def test_every_email_of_a_batch_has_its_own_outcome(served: Stage) -> None:
    people = ("ann@example.com", "refuse-bob@example.com", "eve@x.org")
    async with served.session() as session:
        sent = await session.call(
            "send_batch", **batch(served, "ann@example.com", "refuse-bob@example.com", "eve@x.org")
        )
        again = await session.call(
            "send_batch", **batch(served, "ann@example.com", "refuse-bob@example.com", "eve@x.org")
        )
        listed = await session.call("list_emails", query=served.topic, tag="news")
    assert [email["status"] for email in sent["emails"]] == ["sent", "failed", "sent"]
    assert [email["to"] for email in sent["emails"]] == [[name] for name in people]
    assert sent["summary"] == "3 emails accepted: 2 sent, 1 failed."
    assert "550" in sent["emails"][1]["summary"]
    assert "summary" not in sent["emails"][0]
    assert [email["id"] for email in again["emails"]] == [email["id"] for email in sent["emails"]]
    assert len(listed["emails"]) == 3
    assert sorted(mail.recipients for mail in served.received()) == [("ann@example.com",), ("eve@x.org",)]


async def test_one_wrong_email_stops_the_whole_batch_and_is_named(served: Stage) -> None:
    async with served.session() as session:
        for wrong, said in (
            ({"to": "no address"}, "invalid_address: emails[1]: "),
            (
                {"to": "bob@example.com", "bbc": ["eve@example.com"]},
                'emails[1]: unknown argument "bbc". Did you mean "bcc"',
            ),
            (
                {"to": "bob@example.com", "delay": "PT1H"},
                'emails[1]: unknown argument "delay". "delay" is an argument of',
            ),
            (
                {"to": "bob@example.com", "recurrence": "0 9 * * *"},
                'emails[1]: unknown argument "recurrence". "recurrence" is an argument of schedule_email',
            ),
            ({"to": "bob@example.com", "wait": 3}, 'emails[1]: unknown argument "wait".'),
            ({"to": "bob@example.com", "preview": True}, "emails[1]: preview is of one email alone."),
            ({"to": "bob@example.com", "subject": "a\r\nBcc: eve@example.com"}, "emails[1]: subject"),
            ({"to": "bob@example.com", "idempotency_key": "x" * 300}, "emails[1]: idempotency_key must be"),
            ({"cc": ["bob@example.com"]}, "emails[1]: to is required"),
            ("bob@example.com", "emails[1] must be an object"),
        ):
            arguments = batch(served, "ann@example.com")
            arguments["emails"].append(wrong)
            assert said in await session.refused("send_batch", **arguments)
        one_key_for_all = batch(served, "ann@example.com", "bob@example.com", idempotency_key="news-5")
        assert "shared: an idempotency_key stands for one email alone." in await session.refused(
            "send_batch", **one_key_for_all
        )
        assert "takes 1 to 100" in await session.refused("send_batch", emails=[])
        too_many = batch(served, *["ann@example.com"] * 101)
        assert "emails holds 101; it takes 1 to 100" in await session.refused("send_batch", **too_many)
        listed = await session.call("list_emails", query=served.topic)
    assert listed["emails"] == []
    assert not served.received()


async def test_one_template_serves_a_list_of_recipients_and_their_variables(served: Stage) -> None:
    people = [
        {"to": f"{name}@example.com", "variables": {"title": f"{served.topic} for {name}"}} for name in ("ann", "bob")
    ]
    common = {"title": "overruled", "message": "Hello you."}
    nameless = {"template": "notification", "variables": {"message": "Hello you."}}
    async with served.session() as session:
        sent = await session.call("send_batch", emails=people, shared={"template": "notification", "variables": common})
        missing = await session.refused("send_batch", emails=[*people, {"to": "eve@example.com"}], shared=nameless)
    assert [email["status"] for email in sent["emails"]] == ["sent", "sent"]
    assert missing.startswith("template_error: emails[2]: ")
    mails = {mail.recipients[0]: mail.raw.decode() for mail in served.received()}
    for name in ("ann", "bob"):
        assert f"for {name}" in mails[f"{name}@example.com"]
        assert "Hello you." in mails[f"{name}@example.com"]
        assert "overruled" not in mails[f"{name}@example.com"]


async def test_each_email_of_a_batch_carries_the_files_of_all_or_its_own(stdio: Stage, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("The terms.")
    terms = [{"path": str(tmp_path / "terms.txt")}]
    emails = [
        {"to": "ann@example.com"},
        {"to": "bob@example.com", "attachments": [{"filename": "own.txt", "text": "For Bob."}]},
        {"to": "eve@example.com"},
    ]
    shared = {"subject": stdio.topic, "body": "See there.", "attachments": terms}
    async with stdio.session(EMAIL_ATTACHMENT_ROOTS=str(tmp_path)) as session:
        sent = await session.call("send_batch", emails=emails, shared=shared)
        wrong = [*emails, {"to": "x@example.com", "attachments": [{"path": "/etc/passwd"}]}]
        refused = await session.refused("send_batch", emails=wrong, shared=shared)
        listed = await session.call("list_emails", query=stdio.topic)
    assert [email["status"] for email in sent["emails"]] == ["sent"] * 3
    assert refused.startswith("attachment_refused: emails[3]: ")
    assert len(listed["emails"]) == 3
    files = {
        mail.recipients[0]: [p.get_payload(decode=True) for p in mail.parsed.iter_attachments()]
        for mail in stdio.received()
    }
    assert files == {
        "ann@example.com": [b"The terms."],
        "bob@example.com": [b"For Bob."],
        "eve@example.com": [b"The terms."],
    }


@pytest.mark.timeout(180)
async def test_a_client_that_waits_for_a_hundred_hears_how_far_they_are(served: Stage) -> None:
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total))

    recipients = [f"r{n}@example.com" for n in range(100)]
    async with served.session() as session:
        result = await session.client.call_tool(
            "send_batch", {**batch(served, *recipients), "wait": 50}, progress_callback=hear
        )
    assert not result.is_error
    assert isinstance(result.content[0], TextContent)
    assert result.content[0].text.startswith("100 emails accepted: 100 sent.\n")
    assert heard[0][0] < heard[-1][0] == 100
    assert heard == sorted(set(heard))
    assert {total for _, total in heard} == {100}
    assert {mail.recipients[0] for mail in served.received()} == set(recipients)
