"""``demo``: a real MCP client starts ``outspool --sandbox`` over stdio and uses its tools.

Nothing is simulated: it is the ordinary server, and each printed line is what a tool returned.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import TextContent
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from outspool.cli.printing import console, format_precise
from outspool.cli.times import format_zone, localize
from outspool.errors import OutspoolError

_AHEAD = "PT3S"
_ON_TIME = 1.0
"""Seconds that a scheduled email may be late."""
_PATIENCE = 15.0
_HEADER_LINES = 12


class DemoFailedError(OutspoolError):
    """Something did not turn out as expected."""

    code = "demo_failed"


@dataclass(frozen=True)
class Act:
    """One email of the demo: tool, arguments, expected status and expected events."""

    title: str
    tool: str
    arguments: dict[str, Any]
    ends: str
    reply: str


_ACTS = (
    Act(
        "an email, sent now",
        "send_email",
        {"to": ["ada@example.com"], "subject": "Hello", "body": "Sent by an agent.\n", "wait": 10},
        ends="sent",
        reply="250",
    ),
    Act(
        "an email, scheduled 3 seconds ahead",
        "schedule_email",
        {"to": ["grace@example.com"], "subject": "In three seconds", "body": "Right on time.\n", "delay": _AHEAD},
        ends="sent",
        reply="250",
    ),
    Act(
        "an email whose server is busy the first time",
        "send_email",
        {"to": ["busy@example.com"], "subject": "Try again", "body": "You were busy.\n", "wait": 5},
        ends="sent",
        reply="451",
    ),
    Act(
        "an email for two people, one of whom does not exist",
        "send_email",
        {"to": ["ada@example.com", "nobody@example.com"], "subject": "Both of you", "body": "Hello.\n", "wait": 10},
        ends="partial",
        reply="550",
    ),
)


async def run_demo() -> None:
    """Run and print the demo. Raises `DemoFailedError` unless everything turned out as expected."""
    out = console()
    folder = Path(tempfile.mkdtemp(prefix="outspool-demo-"))
    log = folder / "outspool.log"
    out.print("An MCP client starts `outspool --sandbox` and uses its tools. Nothing leaves this machine.\n")
    try:
        async with _client(folder, log) as client:
            emails = await _play(out, client)
        _show_files(out, folder / "sandbox", emails)
    except Exception as error:
        # The client's task groups wrap exceptions.
        found = _find_first(error)
        message = found.message if isinstance(found, DemoFailedError) else f"The client failed: {found!r:.200}."
        raise DemoFailedError(message, f"The server's log is {log}.") from error
    out.print("\nEverything came out as said.", style="bold green")


@asynccontextmanager
async def _client(folder: Path, log: Path) -> AsyncIterator[Client]:
    """Start the server with its own settings, in a folder without ``.env``, and connect to it."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "outspool", "--sandbox"],
        env={"OUTSPOOL_DATA_DIR": str(folder)},
        cwd=folder,
    )
    with log.open("w", encoding="utf-8") as errors:  # in a private folder of `mkdtemp`
        async with Client(stdio_client(server, errlog=errors)) as client:
            yield client


def _find_first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _play(out: Console, client: Client) -> list[dict[str, Any]]:
    """Send every email, then print their timelines; return the emails. Raises `DemoFailedError`."""
    tools = (await client.list_tools()).tools
    _say(out, f"Its tools: {', '.join(tool.name for tool in tools)}.\n")
    accepted = []
    for act in _ACTS:
        email = await _call(client, act.tool, **act.arguments)
        out.print(f"{act.tool}: {act.title}", style="bold", soft_wrap=True)
        _say(out, localize(email["summary"]), indent=2)
        accepted.append(email["id"])
    out.print(f"\nThen it asks get_status what became of them (times are {format_zone(datetime.now().astimezone())}).")
    emails = []
    for act, email_id in zip(_ACTS, accepted, strict=True):
        email = await _wait_for_end(client, email_id, act)
        _show_timeline(out, act, email)
        _check(act, email)
        emails.append(email)
    return emails


def _say(out: Console, text: str, *, indent: int = 0) -> None:
    """Print a sentence, wrapped between words in a terminal and on one line in a pipe."""
    if out.is_terminal:
        out.print(Padding(text, (0, 0, 0, indent)))
    else:
        out.print(f"{' ' * indent}{text}", soft_wrap=True)


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        reply_text = " ".join(block.text for block in result.content if isinstance(block, TextContent))
        raise DemoFailedError(f"{tool} was refused: {reply_text}")
    return dict(result.structured_content)


async def _wait_for_end(client: Client, email_id: str, act: Act) -> dict[str, Any]:
    """Return the email once it has its expected status, or as it is after a while."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        email = await _call(client, "get_status", email_id=email_id)
        if email["status"] == act.ends or time.monotonic() > deadline:
            return email
        await asyncio.sleep(0.2)


def _show_timeline(out: Console, act: Act, email: dict[str, Any]) -> None:
    recipients = ", ".join(recipient["address"] for recipient in email["recipients"])
    out.print(f'\n"{email["subject"]}" to {recipients}', style="bold", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=False)
    for event in email["events"]:
        why = event.get("detail") or event["code"]
        table.add_row(format_precise(datetime.fromisoformat(event["at"]))[11:], event["status"], why)
    out.print(table)
    if act.tool == "schedule_email" and email["status"] == act.ends:
        due = datetime.fromisoformat(email["scheduled_at"])
        out.print(f"  due {format_precise(due)[11:]}, left {_lateness(email) * 1000:.0f} ms after that")
    for recipient in email["recipients"] if len(email["recipients"]) > 1 else ():
        reply_text = " ".join(str(recipient[key]) for key in ("code", "enhanced_code", "reply") if key in recipient)
        _say(out, f"{recipient['address']}: {recipient['status']}, {reply_text}", indent=2)


def _lateness(email: dict[str, Any]) -> float:
    """Return how many seconds after its time a scheduled email was sent."""
    due = datetime.fromisoformat(email["scheduled_at"])
    sent_at = next(datetime.fromisoformat(event["at"]) for event in email["events"] if event["status"] == "sending")
    return (sent_at - due).total_seconds()


def _check(act: Act, email: dict[str, Any]) -> None:
    """Raise `DemoFailedError` unless the email turned out as expected."""
    if email["status"] != act.ends:
        raise DemoFailedError(f'"{email["subject"]}" is {email["status"]}, and was to be {act.ends}.')
    if not any(f'said: "{act.reply} ' in str(event.get("detail", "")) for event in email["events"]):
        raise DemoFailedError(f'"{email["subject"]}" was to be answered with {act.reply}, and was not.')
    if act.tool == "schedule_email" and not 0 <= _lateness(email) <= _ON_TIME:
        raise DemoFailedError(f'"{email["subject"]}" did not leave on time.')


def _show_files(out: Console, sandbox: Path, emails: list[dict[str, Any]]) -> None:
    """Print where the caught emails are, and the head of the first. Raises `DemoFailedError` for a wrong number."""
    files = sorted(sandbox.glob("*.eml"))
    texts = [file.read_text("utf-8", errors="replace") for file in files]
    for email in emails:
        copies = sum(email["message_id"] in text for text in texts)
        if copies != 1:
            raise DemoFailedError(f'"{email["subject"]}" reached the sandbox {copies} times.')
    out.print(f"\nThe sandbox took {len(files)} emails, each once: {sandbox}", style="bold", soft_wrap=True)
    out.print(f"{files[0].name}:")
    for line in texts[0].splitlines()[:_HEADER_LINES]:
        out.print(f"  {line}", style="dim", soft_wrap=True)
