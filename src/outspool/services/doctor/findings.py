"""What `doctor` says: one finding a line, and how to put right what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is: ``FAIL`` means that emails cannot go out, or will not."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: its `level`, the `name` of what was looked at, what was found, and the `cure` if one is needed."""

    level: Level
    name: str
    finding: str
    cure: str = ""


def ok(name: str, finding: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, name, finding)


def warn(name: str, finding: str, cure: str) -> Finding:
    """Something may not be as it was meant."""
    return Finding(Level.WARN, name, finding, cure)


def fail(name: str, finding: str, cure: str) -> Finding:
    """Emails cannot go out, or will not."""
    return Finding(Level.FAIL, name, finding, cure)
