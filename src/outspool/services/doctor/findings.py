"""The doctor's findings: one line each, with a fix for what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Severity; ``FAIL`` means that emails cannot or will not be sent."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `level`, `name` of the checked thing, the `finding`, and the `fix` if there is one to make."""

    level: Level
    name: str
    finding: str
    fix: str = ""


def ok(name: str, finding: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(Level.OK, name, finding)


def warn(name: str, finding: str, fix: str) -> Finding:
    """Return a finding that may not be intended."""
    return Finding(Level.WARN, name, finding, fix)


def fail(name: str, finding: str, fix: str) -> Finding:
    """Return a finding that keeps emails from being sent."""
    return Finding(Level.FAIL, name, finding, fix)
