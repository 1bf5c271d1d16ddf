"""Counts the results of trials, and prints them as a table."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.scenario import Peril
from chaos.trial import Result

_COLUMNS = (
    "trials",
    "accepted",
    "sent",
    "partial",
    "failed",
    "canceled",
    "unknown",
    "waiting",
    "crashes",
    "violations",
)
_WAITING = ("scheduled", "queued", "deferred")


class Tally:
    """The sums over all trials, for each database and kind of fault."""

    def __init__(self, total: int) -> None:
        """Expect so many trials."""
        self.total = total
        self.done = 0
        self.violations = 0
        self.broken = 0
        self._began = time.monotonic()
        self._rows: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, result: Result) -> None:
        """Count one trial: once in each row that it belongs to."""
        self.done += 1
        self.violations += len(result.violations)
        counts = _counts(result)
        for name in ("all", *result.scenario.perils):
            self._rows[result.scenario.database, str(name)].update(counts)

    def progress(self, result: Result) -> str:
        """Return a line about the trial that just ended."""
        seconds = time.monotonic() - self._began
        counts = _counts(result)
        ends = ", ".join(f"{counts[name]} {name}" for name in _COLUMNS[1:] if counts[name])
        return (
            f"[{self.done}/{self.total} {seconds:.0f} s] seed {result.scenario.seed} {result.scenario.database}"
            f" {result.seconds:.1f} s: {ends}"
        )

    def table(self) -> str:
        """Return the sums as a Markdown table."""
        lines = ["| database | fault | " + " | ".join(_COLUMNS) + " |", "|---|---|" + "---:|" * len(_COLUMNS)]
        for (database, name), counts in self._ordered():
            figures = " | ".join(f"{counts[column]:,}" for column in _COLUMNS)
            lines.append(f"| {database} | {name} | {figures} |")
        return "\n".join(lines)

    def document(self) -> str:
        """Return the table with what is needed to read it."""
        seconds = time.monotonic() - self._began
        title = f"# {self.done:,} trials, {self.violations} violations"
        return f"{title}\n\n{self.table()}\n\n{_NOTES} Took {seconds:.0f} s.\n"

    def _ordered(self) -> Iterator[tuple[tuple[str, str], Counter[str]]]:
        names = [*map(str, Peril), "all"]
        yield from sorted(self._rows.items(), key=lambda row: (row[0][0], names.index(row[0][1])))


def _counts(result: Result) -> Counter[str]:
    statuses = Counter(str(email.status) for email in result.evidence.emails)
    counts = Counter({name: statuses[name] for name in ("sent", "partial", "failed", "canceled", "unknown")})
    counts["waiting"] = sum(statuses[name] for name in _WAITING)
    counts["trials"] = 1
    counts["accepted"] = len(result.evidence.emails)
    counts["crashes"] = result.crashes
    counts["violations"] = len(result.violations)
    return counts


def describe(result: Result) -> str:
    """Return the violations of a trial, with the histories they speak of."""
    lines = [f"VIOLATED {violation}" for violation in result.violations]
    concerned = {email_id for violation in result.violations for email_id in violation.emails}
    for email in result.evidence.emails:
        if email.id in concerned:
            lines.append(f"  {email.id} {email.message_id} {email.subject!r} {dict(email.recipients)}")
            lines += [f"    {event.at:%H:%M:%S.%f} {event.status} {event.code}" for event in email.events]
    return "\n".join(lines)


_NOTES = (
    "A trial has one to four kinds of faults and counts in the row of each. Accepted emails end `sent`, `partial`,"
    " `failed`, `canceled` or `unknown`; `waiting` ones are scheduled for days later. `make chaos` renews this table."
)
