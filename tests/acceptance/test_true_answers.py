"""Answers after which a model tells its user nothing false, and calls what cannot do harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.stage import Stage


async def test_a_key_conflict_names_the_email_that_has_the_key(served: Stage) -> None:
    key = f"key-{served.topic}"
    async with served.session() as session:
        first = await session.call("schedule_email", **served.message(delay="PT1H", idempotency_key=key))
        refusal = await session.refused(
            "schedule_email", **served.message(delay="PT1H", idempotency_key=key, body="Other words.")
        )
        await session.call("cancel_email", email_id=first["id"])
    assert first["id"] in refusal
    assert "(scheduled)" in refusal
    assert served.topic in refusal
    assert "update_email" in refusal


async def test_one_of_two_texts_is_not_changed_alone(served: Stage) -> None:
    async with served.session() as session:
        email = await session.call("schedule_email", **served.message(delay="PT1H", html="<p>Good daay.</p>"))
        for given, kept in (("body", "html"), ("html", "body")):
            refusal = await session.refused("update_email", email_id=email["id"], **{given: "Good night."})
            assert f"{kept} would keep the old words" in refusal
        await session.call("update_email", email_id=email["id"], body="Good night.", html="<p>Good night.</p>")
        await session.call("update_email", email_id=email["id"], body="Good night!", html="")
        await session.call("update_email", email_id=email["id"], body="Good morning.")
        await session.call("cancel_email", email_id=email["id"])


@pytest.mark.slow
async def test_canceling_a_series_names_what_it_made_and_still_goes_out(stdio: Stage) -> None:
    async with stdio.session() as session:
        with stdio.smtp_down():
            series = await session.call("schedule_email", **stdio.message(recurrence="* * * * *", timezone="UTC"))
            async with asyncio.timeout(100):
                made: list[dict[str, Any]] = []
                while not made:
                    made = (await session.call("list_emails", series=series["id"]))["emails"]
                    await asyncio.sleep(0.5)
            canceled = await session.call("cancel_email", email_id=series["id"])
            await session.call("cancel_email", email_id=made[0]["id"])
    assert made[0]["id"] in canceled["notes"][0]


async def test_a_waiting_email_is_moved_to_now_and_sent_once(served: Stage) -> None:
    async with served.session() as session:
        email = await session.call("schedule_email", **served.message(delay="PT1H"))
        moved = await session.call("update_email", email_id=email["id"], scheduled_at="now")
        assert moved["status"] in ("queued", "sending", "sent")
        await session.until(email["id"], "sent")
        refusal = await session.refused("schedule_email", **served.message(scheduled_at="now"))
    assert len(served.received()) == 1
    assert 'update_email with scheduled_at "now"' in refusal


async def test_a_preview_promises_no_more_than_the_account_and_the_workers_do(stdio: Stage) -> None:
    async with stdio.session() as session:
        with stdio.smtp_down():
            await session.call("send_email", **stdio.message(wait=20))
            preview = await session.call("send_email", **stdio.message(preview=True))
    assert "It would be due at once" in preview["summary"]
    assert "is paused until" in preview["summary"]
