"""Trouble with the account names variables to those who set them, and settings in words to callers over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

from support.stage import OUTSPOOL, Stage


def show(stdio: Stage, email_id: str) -> dict[str, Any]:
    """Return what ``outspool show`` prints for programs."""
    command = [*OUTSPOOL, "show", email_id, "--json"]
    environment = dict(stdio.environment)
    shown = subprocess.run(command, env=environment, cwd=stdio.folder, capture_output=True, text=True, check=True)
    return dict(json.loads(shown.stdout))


async def test_who_starts_outspool_reads_the_names_of_variables(stdio: Stage) -> None:
    with stdio.smtp_down():
        async with stdio.session() as session:
            email = await session.call("send_email", **stdio.message(), wait=10)
            status = await session.call("get_status", email_id=email["id"])
            resource = await session.client.read_resource(f"email://{email['id']}")
        assert "SMTP_HOST" in status["error"]["hint"]
        assert json.loads(resource.contents[0].text)["error"] == status["error"]  # type: ignore[union-attr]
        shown = show(stdio, email["id"])
        assert shown["error"]["hint"] == status["error"]["hint"]
    assert "SMTP_HOST" in (stdio.folder / "stdio.log").read_text()


async def test_a_caller_over_http_reads_words(served: Stage) -> None:
    with served.smtp_down():
        async with served.session() as session:
            email = await session.call("send_email", **served.message(), wait=10)
            async with asyncio.timeout(60):  # a connection that was open says first that it was cut
                while 'the "mail server" setting' not in email["error"]["hint"]:
                    await session.call("retry_email", email_id=email["id"])
                    await asyncio.sleep(0.5)
                    email = await session.call("get_status", email_id=email["id"])
    assert "SMTP_" not in json.dumps(email)
