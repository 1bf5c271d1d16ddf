"""The plan of one trial as plain values: processes, load, and faults with their times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SPEED = 30.0
"""Seconds on every clock of a trial in each of its own (`chaos.tempo`), so that pauses of minutes pass in seconds."""

LEASE_SECONDS = 105.0
"""On the trial's clocks: 3.5 seconds of the trial. Shorter, a busy machine would take leases away without any fault."""

BEAT_SECONDS = 0.4
"""Seconds of the trial between the heartbeats of a worker: eight fit into a lease."""

GRACE_SECONDS = 1.5
"""Seconds of the trial that a worker which is told to stop has for what is on the wire."""


class Peril(StrEnum):
    """The kinds of faults, as the table of results names them."""

    KILL = "kill -9"
    STOP = "SIGSTOP, then SIGCONT"
    TERMINATE = "SIGTERM"
    DATABASE_RESTART = "database restart"
    DATABASE_CRASH = "database crash"
    DATABASE_LINE = "database line"
    SMTP_RESTART = "SMTP server killed"
    SMTP_LINE = "SMTP line"
    SMTP_FAULT = "SMTP server errs"
    DISK_FULL = "disk full"
    CLOCK_STEP = "clock step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One peril that strikes `target` at `at` and lasts for `seconds`, by the trial's own; `how` tells kinds apart.

    `amount` is what `how` wants: seconds of latency, bytes until a cut, seconds that a clock jumps.
    """

    peril: Peril
    at: float
    seconds: float
    target: str = ""
    how: str = ""
    amount: float = 0.0
    steps: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it in words."""
        amount = f" {self.amount:g}" if self.amount else ""
        steps = " ".join(f"{step}={fault!r}" for step, fault in self.steps.items())
        what = " ".join(part for part in (str(self.peril), self.target, self.how + amount, steps) if part)
        return f"at {self.at:.2f} s for {self.seconds:.2f} s: {what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a caller, `at` seconds after the trial began; `number` tells it from all others.

    `do` is ``accept``, ``cancel``, ``update``, ``retry`` (of the email of step `of`), or ``retry_any``.
    """

    number: int
    at: float
    do: str
    draft: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    delay: str | None = None
    of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepter:
    """A process that accepts, and dispatches too if it has `connections`; each caller makes its steps one by one."""

    callers: tuple[tuple[Step, ...], ...]
    connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that is decided before a trial begins."""

    seed: int
    database: str
    security: str = "none"
    workers: tuple[int, ...] = (2,)
    """The SMTP connections of each worker."""
    accepters: tuple[Accepter, ...] = ()
    faults: tuple[Fault, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    rate_limit: int | None = None
    is_migrated: bool = True
    """Whether the tables are there; else the first processes race to make them."""
    sabotage: str | None = None
    """What the processes do wrong on purpose, to see that it is found."""
    patience: float = 60.0
    """Seconds in which every caller must have its answers, and then every email its end, once all is healed."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step of every caller."""
        return tuple(step for accepter in self.accepters for caller in accepter.callers for step in caller)

    @property
    def perils(self) -> frozenset[Peril]:
        """The kinds of faults that strike."""
        return frozenset(fault.peril for fault in self.faults)

    @property
    def connections(self) -> int:
        """How many SMTP connections all processes may have open together."""
        return sum(self.workers) + sum(accepter.connections for accepter in self.accepters)

    def __str__(self) -> str:
        """Return the scenario in words, a line for each thing."""
        asked = [step for step in self.steps if step.do == "accept"]
        keyed = [step.key for step in asked if step.key]
        other = sorted(step.do for step in self.steps if step.do != "accept")
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        lines = [
            f"seed {self.seed}: {self.database}, SMTP security {self.security}",
            f"workers with {', '.join(map(str, self.workers)) or 'no'} connections",
            *(f"accepter with {len(a.callers)} callers, {a.connections} connections" for a in self.accepters),
            f"{len(asked)} emails asked for, {len(keyed)} of them under {len(set(keyed))} keys",
            *(f"{other.count(do)} x {do}" for do in sorted(set(other))),
            *([f"settings {settings}"] if settings else []),
            *([] if self.is_migrated else ["an empty database"]),
            *([f"sabotage: {self.sabotage}"] if self.sabotage else []),
            *map(str, self.faults),
        ]
        return "\n  ".join(lines)


def as_plan(callers: tuple[tuple[Step, ...], ...]) -> list[list[dict[str, Any]]]:
    """Return the steps as JSON, for the process that takes them."""
    return [[asdict(step) for step in caller] for caller in callers]
