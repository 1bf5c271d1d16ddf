"""RESULTS.md: the budgets first, then every figure, then plots, machine and versions."""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.budgets import Verdict, verdicts
from bench.results import Run
from bench.svg import bars
from bench.table import Table
from bench.words import readable, spread

_HERE = Path(__file__).parent
_OBSTACLES = _HERE / "obstacles.toml"
_PLOTS = _HERE / "plots"

_HOW = """\
Medians (least to greatest) of turns in which all contenders of a table alternate (A B A B); a ratio is taken turn by
turn. An SMTP sink in a process of its own counts what arrives and notes when `MAIL FROM` came; what it can take at most
is what `smtp-source` reaches below. Postgres runs with fsync on, SQLite with `synchronous=FULL`, SMTP without TLS.
`EMAIL_RATE_LIMIT_PER_HOUR` is lifted to 10,000,000; all else is as delivered. `make bench` runs all of it,
`make bench PART=accept` a part; `ROWS` and `EMAILS` say how large a history and how many emails. Each part shows its
newest run; when that was, and how busy the machine was, stands at the end."""


def write(runs: Mapping[str, Run], order: Sequence[str]) -> Path:
    """Write RESULTS.md and the plots from the newest run of each part; return where."""
    present = [runs[part] for part in order if part in runs]
    tables = {table.title: table for run in present for table in run.tables}
    _PLOTS.mkdir(exist_ok=True)
    sections = ["# Results\n\nWritten by `python -m bench`; do not edit.", _HOW, _budgets(verdicts(tables))]
    sections += [_section(run) for run in present]
    sections.append(_machines(present))
    target = _HERE / "RESULTS.md"
    target.write_text("\n\n".join(sections) + "\n")
    return target


def text(table: Table) -> str:
    """Return a table as Markdown, legible on a terminal too."""
    columns = table.columns()
    lines = [[name, *(spread(row.get(column, ())) for column in columns)] for name, row in table.rows.items()]
    grid = _grid([["", *columns], *lines]) if lines else ""
    reasons = [f"- {name}: absent. {why}" for name, why in table.absent.items()]
    reasons += [f"- {name}: **failed**. {why}" for name, why in table.failed.items()]
    return "\n\n".join(filter(None, (f"### {table.title}", table.note, grid, "\n".join(reasons))))


def _budgets(judged: Sequence[Verdict]) -> str:
    head = ["budget", "beside", "bound", "in this run", "", "in the way"]
    obstacles = tomllib.loads(_OBSTACLES.read_text()) if _OBSTACLES.exists() else {}
    notes: list[str] = []
    rows = [
        [
            verdict.name,
            verdict.beside,
            f"{'≤' if verdict.at_most else '≥'} {verdict.bound:,g} {verdict.unit}",
            f"{spread(verdict.figures)} {verdict.unit}" if verdict.figures else "",
            {True: "met", False: "**not met**", None: "not measured"}[verdict.is_met],
            _numbered(_obstacle(verdict, obstacles), notes),
        ]
        for verdict in judged
    ]
    met = sum(verdict.is_met is True for verdict in judged)
    ways = [textwrap.fill(f"{number}. {note}", 120, subsequent_indent="   ") for number, note in enumerate(notes, 1)]
    parts = [f"## Budgets\n\n{met} of {len(judged)} are met.", _grid([head, *rows])]
    if ways:
        parts += ["What was tried for those that are not met, and what stands in the way:", "\n".join(ways)]
    return "\n\n".join(parts)


def _obstacle(verdict: Verdict, obstacles: Mapping[str, str]) -> str:
    """Return what somebody wrote about a budget that is not met; the longest beginning of its name decides."""
    fitting = [name for name in obstacles if f"{verdict.name}, {verdict.beside}".replace("`", "").startswith(name)]
    return obstacles[max(fitting, key=len)] if fitting and verdict.is_met is False else ""


def _numbered(note: str, notes: list[str]) -> str:
    """Return the number of a note among `notes`, to which it is added if it is new."""
    if note and note not in notes:
        notes.append(note)
    return str(notes.index(note) + 1) if note else ""


def _section(run: Run) -> str:
    return "\n\n".join([f"## {run.part}", *_described(run)])


def _described(run: Run) -> Iterator[str]:
    for table in run.tables:
        yield text(table)
        drawn = {name: row[table.drawn] for name, row in table.rows.items() if row.get(table.drawn)}
        if drawn:
            slug = re.sub(r"[^a-z0-9]+", "-", table.title.lower()).strip("-")
            (_PLOTS / f"{slug}.svg").write_text(bars(table.title, table.drawn, drawn))
            yield f"![{table.title}](plots/{slug}.svg)"


def _machines(runs: Sequence[Run]) -> str:
    when = [[run.part, run.date, f"{readable(run.seconds)} s", run.load] for run in runs]
    parts = ["## Machine and versions", _grid([["part", "on", "took", "load at its start"], *when])]
    machines = list(dict.fromkeys(tuple(run.machine.items()) for run in runs))
    parts += [_grid([["", ""], *([key, value] for key, value in described)]) for described in machines]
    return "\n\n".join(parts)


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table, its columns aligned; the first row is the head."""
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
