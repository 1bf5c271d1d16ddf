"""Series through a real MCP client and on the command line."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from support.stage import Stage


async def test_a_series_is_scheduled_shown_changed_paused_and_canceled_by_its_id(served: Stage) -> None:
    async with served.session() as session:
        series = await session.call(
            "schedule_email",
            **served.message(recurrence="0 9 * * mon", timezone="Europe/Berlin", count=10, tags=["weekly"]),
        )
        assert series["status"] == "recurring"
        assert series["scheduled_at"].endswith(("T07:00:00Z", "T08:00:00Z"))
        assert series["summary"].startswith("A series, 0 9 * * mon in Europe/Berlin, 0 of 10 emails: next at ")
        assert series["in"].startswith("in ")
        assert series["recurrence"] == {
            "recurrence": "0 9 * * mon",
            "timezone": "Europe/Berlin",
            "count": 10,
            "made": 0,
        }
        name = series["id"]
        listed = await session.call("list_emails", query=served.topic, status="recurring")
        assert [(found["id"], found["scheduled_at"]) for found in listed["emails"]] == [(name, series["scheduled_at"])]

        changed = await session.call("update_email", email_id=name, recurrence="0 10 * * mon", count=0, body="New.")
        assert changed["scheduled_at"].endswith(("T08:00:00Z", "T09:00:00Z"))
        assert "count" not in changed["recurrence"]
        later = await session.call("update_email", email_id=name, delay="P30D")
        wait = datetime.fromisoformat(later["scheduled_at"]) - datetime.now(UTC)
        assert timedelta(days=29, hours=23) <= wait <= timedelta(days=37)

        paused = await session.call("update_email", email_id=name, paused=True)
        assert paused["status"] == "paused"
        assert "scheduled_at" not in paused
        answer = await session.client.call_tool("update_email", {"email_id": name, "paused": False})
        assert answer.content[0].text.startswith("Changed: paused.")  # type: ignore[union-attr]
        resumed = answer.structured_content
        assert (resumed["status"], resumed["scheduled_at"]) == ("recurring", later["scheduled_at"])

        assert "cannot be retried" in await session.refused("retry_email", email_id=name)
        canceled = await session.call("cancel_email", email_id=name)
        assert canceled["status"] == "canceled"
        assert canceled["summary"] == "A series, canceled: it makes no more emails."
        told = await session.call("get_status", email_id=name)
    assert [event["code"] for event in told["events"]] == ["accepted", *["updated"] * 4, "canceled"]
    assert not served.received()


async def test_the_preview_of_a_series_says_when_it_would_go_out_and_stores_nothing(served: Stage) -> None:
    rule = {"recurrence": "0 9 * * mon", "timezone": "Europe/Berlin", "count": 2}
    async with served.session() as session:
        shown = await session.call("schedule_email", **served.message(**rule, preview=True))
        listed = await session.call("list_emails", query=served.topic)
    assert shown["status"] == "preview"
    assert "A series, 0 9 * * mon in Europe/Berlin, 0 of 2 emails: next at " in shown["summary"]
    assert listed["emails"] == []


async def test_what_no_series_can_be_is_refused_and_nothing_is_scheduled(served: Stage) -> None:
    async with served.session() as session:
        for wrong, said in (
            ({"recurrence": "0 9 30 2 *", "timezone": "Europe/Berlin"}, "never comes true"),
            ({"recurrence": "0 0 9 * * *", "timezone": "Europe/Berlin"}, "has 6 of five fields"),
            ({"recurrence": "every monday", "timezone": "Europe/Berlin"}, "has 2 of five fields"),
            ({"recurrence": "0 9 1 * mon", "timezone": "Europe/Berlin"}, "read that in two ways"),
            ({"recurrence": "0 9 * * mon"}, "needs a timezone"),
            ({"recurrence": "0 9 * * mon", "timezone": "Berlin"}, 'Use one like "Europe/Berlin"'),
            ({"recurrence": "0 9 * * mon", "timezone": "Europe/Berlin", "until": "2020-01-01"}, "until is before"),
            ({"recurrence": "0 9 * * mon", "timezone": "Europe/Berlin", "until": "9999-12-31"}, "no time to plan for"),
            ({"recurrence": "0 9 * * mon", "timezone": "Europe/Berlin", "count": 0}, "count must be 1 to"),
            ({"delay": "PT2H", "count": 3}, "end a recurrence, and none is given"),
        ):
            refused = await session.refused("schedule_email", **served.message(**wrong))
            assert refused.startswith("invalid_schedule: ")
            assert said in refused
        misnamed = await session.refused("schedule_email", **served.message(cron="* * * * *"))
        assert 'Did you mean "recurrence"?' in misnamed
        single = await session.call("schedule_email", **served.message(delay="PT1H"))
        assert "single email" in await session.refused("update_email", email_id=single["id"], paused=True)
        await session.call("cancel_email", email_id=single["id"])
        listed = await session.call("list_emails", query=served.topic)
    assert [email["id"] for email in listed["emails"]] == [single["id"]]


@pytest.mark.timeout(150)
@pytest.mark.slow
async def test_every_minute_a_series_sends_an_email_that_names_it(served: Stage) -> None:
    async with served.session() as session:
        series = await session.call("schedule_email", **served.message(recurrence="* * * * *", timezone="UTC", count=1))
        due = datetime.fromisoformat(series["scheduled_at"])
        deadline = time.monotonic() + 90
        while not (made := (await session.call("list_emails", series=series["id"]))["emails"]):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.5)
        email = await session.until(made[0]["id"], "sent")
        ended = await session.call("get_status", email_id=series["id"])
    assert ended["status"] == "ended"
    assert (email["series_id"], email["scheduled_at"]) == (series["id"], series["scheduled_at"])
    assert due <= datetime.fromisoformat(email["sent_at"]) < due + timedelta(seconds=10)
    (mail,) = served.received()
    assert mail.message_id == email["message_id"]
    assert series["id"] not in mail.raw.decode()
