"""Collects the records of a trial for the checker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from chaos.caller import read_journal
from chaos.generator import is_harmless
from chaos.outbox_reader import OutboxReader
from chaos.records import Answer, Evidence, Excuse, StoredEmail, Taken
from chaos.scenario import SPEED, Peril, Scenario
from chaos.strikes import Scene

_BLAMES = frozenset({Peril.SMTP_FAULT, Peril.SMTP_LINE, Peril.SMTP_RESTART})
"""What may cost an email an attempt, and in the end its life."""

_LATE_SECONDS = 1.0
"""Seconds of the trial between reading the clock and the commit of what was read, on a busy machine."""


async def gather(scenario: Scenario, scene: Scene, unsettled: str) -> Evidence:
    """Read store, SMTP server and journals; nobody may be at work any more."""
    now = scene.dial.now()
    emails = await OutboxReader(scene.database_url).emails()
    return Evidence(
        now=now,
        emails=emails,
        taken=tuple(_taken(scene)),
        answers=tuple(_answers(scene)),
        excuses=(*scene.excuses, *_silences(scene, now)),
        exits=tuple(scene.exits),
        max_retries=int(scenario.settings.get("EMAIL_MAX_RETRIES", "3")),
        rate_limit=scenario.rate_limit,
        resends=scenario.settings.get("EMAIL_ON_UNKNOWN") == "resend",
        clock_slack_seconds=_clock_slack(scenario),
        slack_seconds=_clock_slack(scenario) + sum(f.seconds for f in scenario.faults) * SPEED,
        blameless=_blameless(scenario, emails),
        unsettled=unsettled,
    )


def _blameless(scenario: Scenario, emails: Sequence[StoredEmail]) -> frozenset[str]:
    if scenario.perils & _BLAMES or "EMAIL_EXPIRE_AFTER_HOURS" in scenario.settings:
        return frozenset()
    return frozenset(email.id for email in emails if all(is_harmless(address) for address in email.recipients))


def _clock_slack(scenario: Scenario) -> float:
    """Return by how many seconds two clocks of the trial may differ, or a time be old when it is written down."""
    steps = sum(abs(fault.amount) for fault in scenario.faults if fault.peril is Peril.CLOCK_STEP)
    return steps + _LATE_SECONDS * SPEED


def _taken(scene: Scene) -> Iterator[Taken]:
    for mail in scene.sink.messages():
        subject = str(mail.parsed["subject"])
        yield Taken(message_id=mail.message_id or "", subject=subject, recipients=mail.recipients)


def _answers(scene: Scene) -> Iterator[Answer]:
    """Read the journals: each question, and what came of it."""
    for path in sorted(scene.folder.glob("journal-*")):
        asked: dict[int, dict[str, Any]] = {}
        for entry in read_journal(path)[0]:
            if "asked" in entry:
                if entry["step"] in asked:  # its process died before there was an answer
                    yield _answer(asked[entry["step"]])
                asked[entry["step"]] = entry
            else:
                asked.pop(entry["step"], None)
                yield _answer(entry)
        yield from map(_answer, asked.values())


def _answer(entry: dict[str, Any]) -> Answer:
    return Answer(
        step=entry["step"],
        do=entry["do"],
        at=datetime.fromisoformat(entry["at"]),
        id=entry.get("id"),
        error=entry.get("error"),
        in_doubt=entry.get("in_doubt", False),
        was_answered="asked" not in entry,
        subject=entry.get("subject"),
        key=entry.get("key"),
    )


def _silences(scene: Scene, now: datetime) -> Iterator[Excuse]:
    """Return what the SMTP server itself left without a reply: it knows the messages."""
    for message_id in scene.sink.silences():
        why = "the SMTP server gave no reply"
        codes = frozenset({"in_doubt"})
        yield Excuse(why=why, codes=codes, since=scene.started, until=now, most=1, message_id=message_id)
