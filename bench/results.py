"""The figures of the last runs, kept beside RESULTS.md as JSON: each part's newest, with when and on what it ran."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.table import Table

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one part."""

    part: str
    date: str
    seconds: float
    load: str
    machine: dict[str, str]
    tables: tuple[Table, ...]


def read_runs() -> dict[str, Run]:
    """Return the newest run of each part that was kept."""
    return {part: _run(kept) for part, kept in json.loads(FILE.read_text()).items()} if FILE.exists() else {}


def keep(runs: Sequence[Run]) -> dict[str, Run]:
    """Put these in the place of older runs of the same parts; return all."""
    kept = read_runs() | {run.part: run for run in runs}
    FILE.write_text(json.dumps({part: asdict(run) for part, run in kept.items()}, indent=1) + "\n")
    return kept


def _run(kept: dict[str, Any]) -> Run:
    return Run(**kept | {"tables": tuple(Table(**table) for table in kept["tables"])})
