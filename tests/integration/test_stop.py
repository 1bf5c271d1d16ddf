"""A stop at any moment leaves no claimed email behind, and no driver's complaint."""

from __future__ import annotations

import asyncio
from pathlib import Path

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.services.acceptance.validation import EmailRequest


def test_a_stop_at_any_moment_of_the_start_leaves_no_email_claimed(tmp_path: Path) -> None:
    settings = Settings.load({"OUTSPOOL_SANDBOX": True, "OUTSPOOL_DATA_DIR": tmp_path})
    draft = EmailRequest(to=["ada@example.com"], subject="s", body="b")

    async def start_and_stop(milliseconds: float) -> str:
        app = Outspool(settings)
        async with app.run(worker=True):
            email = await app.outbox.accept(draft)
            await asyncio.sleep(milliseconds / 1000)
        app = Outspool(settings)
        async with app.run(worker=False):
            return (await app.outbox.get(str(email.id))).status

    # Each in a loop of its own, which must be closed with no statement under way: pytest sees to that.
    statuses = {asyncio.run(start_and_stop(step * 0.7)) for step in range(40)}
    assert statuses <= {"queued", "sent"}, statuses


async def test_what_the_sandbox_keeps_is_for_its_owners_eyes_alone(tmp_path: Path) -> None:
    settings = Settings.load({"OUTSPOOL_SANDBOX": True, "OUTSPOOL_DATA_DIR": tmp_path})
    app = Outspool(settings)
    async with app.run(worker=True):
        email = await app.outbox.accept(EmailRequest(to=["ada@example.com"], body="x"))
        await app.outbox.wait_for_outcome(email, max_wait=20)
    assert list(settings.sandbox_dir.glob("*.eml"))
    assert settings.sandbox_dir.stat().st_mode & 0o077 == 0
