"""What is measured; every ratio from rounds in which both sides take turns. `ALL` names them in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from statistics import median
from typing import Any

from aiosmtplib import SMTP
from bench.figures import Row, compare, judge, percentile, readable
from bench.place import BARE, OUTSPOOL, Place, call, since
from support.smtp_sink import Received, SmtpSink
from support.workers import Worker

EMAIL: dict[str, Any] = {"to": ["ada@example.com"], "subject": "A figure", "body": f"{'A line of text. ' * 4}.\n" * 57}
"""4 KB on the wire, headers and all."""
AT_ONCE = EMAIL | {"wait": 0}
ACCEPTING = [*OUTSPOOL, "--no-worker"]
CONNECTIONS = 4  # as outspool keeps unless told otherwise
PATIENCE = 120.0


async def starting(place: Place, rounds: int = 5) -> list[Row]:
    """How long a client waits for the server it starts: until the handshake, and until a first answer.

    The first round, which creates the database and fills the disk's cache, does not count.
    """

    async def start(command: Sequence[str], tool: str) -> tuple[float, float]:
        began = time.perf_counter()
        async with place.connected(command) as client:
            handshake = since(began)
            await call(client, tool)
            return handshake, since(began)

    both = [(await start(OUTSPOOL, "list_emails"), await start(BARE, "nothing")) for _ in range(1 + rounds)][1:]
    (handshakes, answers), (bare_handshakes, bare_answers) = (
        zip(*side, strict=True) for side in zip(*both, strict=True)
    )
    beside = "bare MCPServer"
    return [
        compare("start to initialize answered", handshakes, bare_handshakes, unit="ms", beside=beside, budget=1.25),
        compare("start to first tool answered", answers, bare_answers, unit="ms", beside=beside),
    ]


async def accepting(place: Place, rounds: int = 10, calls: int = 40) -> list[Row]:
    """What a durable commit adds to a tool call, one after another; the first round warms up and does not count."""
    ours, bare = [], []
    async with place.connected(ACCEPTING) as outspool, place.connected(BARE) as nothing:
        for _ in range(1 + rounds):
            ours.append([await call(outspool, "send_email", AT_ONCE) for _ in range(calls)])
            bare.append([await call(nothing, "nothing") for _ in range(calls)])
    medians = [[median(calls) for calls in side[1:]] for side in (ours, bare)]
    slowest = [[percentile([*chain(*side[1:])], 0.99)] for side in (ours, bare)]
    beside = "a tool that does nothing"
    return [
        compare("send_email, wait=0: median", *medians, unit="ms", beside=beside, budget=2),
        compare(f"send_email, wait=0: p99 of {rounds * calls}", *slowest, unit="ms", beside=beside),
    ]


async def delivering(place: Place, rounds: int = 3, emails: int = 200) -> list[Row]:
    """How fast a full queue empties into the sink, beside an SMTP client that sends those very bytes and no more."""
    ours, raw = [], []
    async with place.connected(ACCEPTING) as outspool:
        for _ in range(rounds):
            for _ in range(emails):
                await call(outspool, "send_email", AT_ONCE)
            place.sink.clear()
            with Worker(place.variables, place.folder):
                received = await place.sink.wait_for(emails, PATIENCE)
            ours.append(_rate(received))
            raw.append(_rate(await _by_aiosmtplib(place.sink, [mail.raw for mail in received])))
    beside = f"aiosmtplib, {CONNECTIONS} connections"
    return [compare(f"{emails} queued emails to SMTP server", ours, raw, unit="/s", beside=beside)]


async def _by_aiosmtplib(sink: SmtpSink, messages: Sequence[bytes]) -> list[Received]:
    sink.clear()
    waiting = iter(messages)

    async def send() -> None:
        async with SMTP(hostname=sink.host, port=sink.port, start_tls=False) as connection:
            for message in waiting:
                await connection.sendmail("me@example.com", EMAIL["to"], message)

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return await sink.wait_for(len(messages), PATIENCE)


def _rate(received: Sequence[Received]) -> float:
    """Return emails per second from the first to the last arrival: starting and connecting do not count."""
    return (len(received) - 1) / (received[-1].at - received[0].at).total_seconds()


async def keeping_time(place: Place, emails: int = 20, seconds: int = 4) -> list[Row]:
    """How late scheduled emails leave when there is nothing else to do; each says in its subject when it is due."""
    place.sink.clear()
    async with place.connected(OUTSPOOL) as outspool:
        await call(outspool, "list_emails")  # the queue is open
        first = datetime.now(UTC) + timedelta(seconds=3)
        for number in range(emails):
            due = (first + timedelta(seconds=seconds / emails * number)).isoformat()
            await call(outspool, "schedule_email", EMAIL | {"subject": due, "scheduled_at": due})
        received = await place.sink.wait_for(emails, PATIENCE)
    late = [(mail.at - datetime.fromisoformat(mail.parsed["subject"])) / timedelta(milliseconds=1) for mail in received]
    p50, p99 = (percentile(late, share) for share in (0.5, 0.99))
    figures = f"p50 {readable(p50)} ms, p99 {readable(p99)} ms"
    return [(f"due to SMTP server, {emails} emails", figures, "", "", "p99 <= 100 ms", judge(p99, 100))]


ALL = (starting, accepting, delivering, keeping_time)
