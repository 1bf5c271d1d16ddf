"""Checks that every doubtful email is explained by a fault; an unexplained doubt is a bug.

A momentary fault (a kill, a cut connection) explains at most as many doubts as SMTP connections were affected, and only
of emails claimed at that time. A doubt that outspool resolved by itself, because its worker lived and learned the
outcome, harms nobody, so any number of those may have the same cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest

from chaos.records import Evidence, Excuse, StoredEmail, Violation

from outspool.domain.status import EmailStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An email became ``unknown`` at `until`, after it was claimed at `since`; `stands` if nobody learnt better."""

    email: StoredEmail
    code: str
    since: datetime
    until: datetime
    stands: bool


def doubts(email: StoredEmail) -> Iterator[Doubt]:
    """Return every doubt in the history of an email."""
    claimed = email.created_at
    for event, after in zip_longest(email.events, email.events[1:]):
        if event.status is EmailStatus.SENDING:
            claimed = event.at
        if event.status is EmailStatus.UNKNOWN:
            stands = after is None or after.code == "retried"
            yield Doubt(email=email, code=event.code, since=claimed, until=event.at, stands=stands)


def unexplained_doubts(evidence: Evidence) -> Iterator[Violation]:
    """Yield what stands in doubt without a cause, or beyond what its causes can excuse."""
    found = [doubt for email in evidence.emails for doubt in doubts(email)]
    slack = timedelta(seconds=evidence.clock_slack_seconds)
    possible = {
        id(doubt): [n for n, excuse in enumerate(evidence.excuses) if _explains(excuse, doubt, slack)]
        for doubt in found
    }
    orphans = [doubt for doubt in found if not possible[id(doubt)]]
    standing = [doubt for doubt in found if doubt.stands and possible[id(doubt)]]
    orphans += _left_over(standing, possible, evidence.excuses)
    for doubt in orphans:
        what = f"{doubt.code} at {doubt.until:%H:%M:%S}, claimed at {doubt.since:%H:%M:%S}: no fault explains it"
        yield Violation(promise="in doubt only by a fault", what=what, emails=(doubt.email.id,))


def _explains(excuse: Excuse, doubt: Doubt, slack: timedelta) -> bool:
    if doubt.code not in excuse.codes or excuse.message_id not in (None, doubt.email.message_id):
        return False
    return excuse.since <= doubt.until + slack and doubt.since <= excuse.until + slack


def _left_over(standing: Sequence[Doubt], possible: dict[int, list[int]], excuses: Sequence[Excuse]) -> list[Doubt]:
    """Give each doubt an excuse that has room for it (Kuhn's matching); return those that get none."""
    taken: list[list[Doubt]] = [[] for _ in excuses]

    def settle(doubt: Doubt, tried: set[int]) -> bool:
        for n in possible[id(doubt)]:
            if n in tried:
                continue
            tried.add(n)
            if len(taken[n]) < excuses[n].most:
                taken[n].append(doubt)
                return True
            for place, other in enumerate(taken[n]):
                if settle(other, tried):
                    taken[n][place] = doubt
                    return True
        return False

    return [doubt for doubt in standing if not settle(doubt, set())]
