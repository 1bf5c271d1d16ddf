"""Send, schedule and track, over every transport, protocol version and database."""

from __future__ import annotations

from datetime import datetime, timedelta

from support.stage import Stage


async def test_an_email_is_sent_as_it_was_written(stage: Stage) -> None:
    asked = stage.message(
        "Ada Lovelace <ada@example.com>",
        cc=["bob@example.com"],
        bcc=["eve@example.com"],
        reply_to=["desk@example.com"],
        headers={"X-Project": "42"},
    )
    async with stage.session() as session:
        email = await session.call("send_email", **asked)
    assert email["status"] == "sent", email
    assert {(r["address"], r["kind"], r["status"], r["code"]) for r in email["recipients"]} == {
        ("ada@example.com", "to", "sent", 250),
        ("bob@example.com", "cc", "sent", 250),
        ("eve@example.com", "bcc", "sent", 250),
    }
    [mail] = stage.received()
    assert set(mail.recipients) == {"ada@example.com", "bob@example.com", "eve@example.com"}
    assert mail.message_id == email["message_id"]
    assert mail.parsed["To"] == "Ada Lovelace <ada@example.com>"
    assert mail.parsed["From"] == "Outspool Test <me@example.com>"
    assert (mail.parsed["Reply-To"], mail.parsed["X-Project"]) == ("desk@example.com", "42")
    assert b"eve@example.com" not in mail.raw
    assert mail.parsed.get_content().strip() == "Good day."


async def test_a_scheduled_email_leaves_once_and_on_time(stage: Stage) -> None:
    async with stage.session() as session:
        email = await session.call("schedule_email", **stage.message(delay="PT2S"))
        assert email["status"] == "scheduled"
        assert email["in"] in {"in 2 s", "in 1 s", "now"}
        assert not stage.received()
        sent = await session.until(email["id"], "sent")
    due = datetime.fromisoformat(email["scheduled_at"])
    [mail] = stage.received()
    assert timedelta(0) <= mail.at - due < timedelta(seconds=3)
    assert [event["status"] for event in sent["events"]] == ["scheduled", "sending", "sent"]


async def test_a_refused_recipient_makes_it_partial_and_is_named(stage: Stage) -> None:
    async with stage.session() as session:
        email = await session.call("send_email", **stage.message("ada@example.com", "refuse-bob@example.com"))
    assert email["status"] == "partial"
    taken, refused = email["recipients"]
    assert (taken["status"], taken["code"]) == ("sent", 250)
    assert (refused["status"], refused["code"], refused["enhanced_code"]) == ("failed", 550, "5.1.1")
    assert 'Refused for refuse-bob@example.com: the server said: "550 5.1.1' in email["summary"]
    assert email["error"]["message"]
    [mail] = stage.received()
    assert mail.recipients == ("ada@example.com",)


async def test_a_misspelt_argument_is_refused_and_nothing_is_stored(stage: Stage) -> None:
    async with stage.session() as session:
        later = await session.refused("schedule_email", **stage.message(schedule_at="2030-01-01T00:00:00Z"))
        hidden = await session.refused("send_email", **stage.message(bbc=["eve@example.com"]))
        listed = await session.call("list_emails", query=stage.topic)
    assert later.startswith('invalid_argument: unknown argument "schedule_at". Did you mean "scheduled_at"?')
    assert hidden.startswith('invalid_argument: unknown argument "bbc". Did you mean "bcc"?')
    assert listed["emails"] == []
    assert not stage.received()


async def test_an_email_that_waits_can_be_found_changed_and_canceled(stage: Stage) -> None:
    async with stage.session() as session:
        email = await session.call(
            "schedule_email", **stage.message(delay="PT1H", cc=["bob@example.com"], tags=["trip"])
        )
        email_id = email["id"]
        listed = await session.call("list_emails", query=stage.topic, status="scheduled", tag="trip")
        assert [found["id"] for found in listed["emails"]] == [email_id]
        assert listed["counts"]["scheduled"] >= 1

        changed = await session.call("update_email", email_id=email_id, cc=[], body="Later.", delay="P1D")
        assert changed.get("cc") is None
        assert [r["address"] for r in changed["recipients"]] == ["ada@example.com"]
        assert datetime.fromisoformat(changed["scheduled_at"]) > datetime.fromisoformat(email["scheduled_at"])
        assert changed["subject"] == stage.topic

        canceled = await session.call("cancel_email", email_id=email_id)
        assert canceled["status"] == "canceled"
        assert "next_attempt_at" not in canceled
        refused = await session.refused("update_email", email_id=email_id, body="Again.")
        assert refused.startswith("wrong_state: ")
        told = await session.call("get_status", email_id=email_id)
        assert [event["status"] for event in told["events"]] == ["scheduled", "scheduled", "canceled"]
    assert not stage.received()


async def test_with_smtp_down_it_is_deferred_with_the_reason_and_sent_when_smtp_is_back(stage: Stage) -> None:
    async with stage.session() as session:
        with stage.smtp_down():
            email = await session.call("send_email", **stage.message())
            assert email["status"] == "deferred"
            assert email["error"]["code"] == "account_trouble"
            assert "is paused until" in email["summary"]
            assert ("It goes out by itself" in email["summary"]) == (stage.transport != "stdio")
            assert email["attempts"] == 0
        sent = await session.until(email["id"], "sent", max_wait=60)
    assert sent["attempts"] == 1
    [mail] = stage.received()
    assert mail.message_id == email["message_id"]
