"""The budgets that were set before anything was built, and what a run has to say to each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.table import Table

Tables = Mapping[str, Table]
"""By their titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of the table of budgets: `figures` (a ratio or an amount, one a turn) against a `bound`.

    `beside` says in words what was set against what. No figures: it was not measured in this run.
    """

    name: str
    beside: str
    bound: float
    at_most: bool
    figures: Sequence[float]
    unit: str = "times"

    @property
    def is_met(self) -> bool | None:
        """Whether the median keeps to the bound; None when there is nothing to judge."""
        if not self.figures or any(map(math.isnan, self.figures)):
            return None
        middle = median(self.figures)
        return middle <= self.bound if self.at_most else middle >= self.bound


def verdicts(tables: Tables) -> list[Verdict]:
    """Return a verdict on each budget, in their order."""
    return [verdict for budget in _BUDGETS for verdict in budget(tables)]


def _start(tables: Tables) -> Iterator[Verdict]:
    for kind in ("SQLite", "Postgres"):
        yield Verdict(
            name=f"start to `initialize` answered, stdio, {kind}",
            beside="bare `MCPServer`",
            bound=1.25,
            at_most=True,
            figures=_ratio(tables, "Start over stdio", f"outspool, {kind}", "bare MCPServer", "initialize ms"),
        )


_LEAST = (("nothing", "a tool that does nothing"), ("append", "a tool that appends 4 KB and waits for the disk"))


def _accept(tables: Tables) -> Iterator[Verdict]:
    title = "Accept, one caller"
    for transport in ("stdio", "HTTP"):
        for kind in ("SQLite", "Postgres"):
            for tool, beside in _LEAST:
                yield Verdict(
                    name=f"`send_email`, `wait=0`, {transport}, {kind}",
                    beside=beside,
                    bound=2,
                    at_most=True,
                    figures=_ratio(tables, title, f"{transport}, {kind}", f"{transport}, {tool}", "p50 ms"),
                )


def _deliver(tables: Tables) -> Iterator[Verdict]:
    title, name = "4 KB emails per second, beside others", "per second"
    ours = _best(tables, title, "outspool, Postgres", name)
    for rival, bound in (("procrastinate, jobs that do nothing", 5), ("mcp-email-server", 10)):
        theirs = _best(tables, title, rival, name)
        yield Verdict(
            name="queue to SMTP sink, Postgres, 4 KB, one process",
            beside=f"{theirs} (ours: {ours.removeprefix('outspool, ')})" if ours and theirs else rival,
            bound=bound,
            at_most=False,
            figures=_ratio(tables, title, ours, theirs, name),
        )


def _claim(tables: Tables) -> Iterator[Verdict]:
    rows = _column(tables, "Claim, mark, record", "Postgres, batch 50", "claim + record rows/s")
    yield Verdict(
        name="claim + record at batch 50", beside="Postgres", bound=10_000, at_most=False, figures=rows, unit="rows/s"
    )
    title = "Claim, mark, record, by rows of history"
    largest = next(reversed(_rows(tables, title)), "history")
    p50 = _column(tables, title, largest, "claim p50 ms")
    yield Verdict(name="claim p50", beside=f"with {largest}", bound=2, at_most=True, figures=p50, unit="ms")


def _due(tables: Tables) -> Iterator[Verdict]:
    title = "Due time to MAIL FROM"
    for contender in [row for row in _rows(tables, title) if "spread" in row] or ["one by one"]:
        p99 = _column(tables, title, contender, "p99 ms")
        name = "due time to `MAIL FROM`, idle, p99"
        yield Verdict(name=name, beside=contender, bound=100, at_most=True, figures=p99, unit="ms")


def _look(tables: Tables) -> Iterator[Verdict]:
    """Yield one verdict for each way to look: on the slower, turn by turn, of its first page and a deep one."""
    title = "get_status and list_emails, by rows of history"
    table = tables.get(title, Table(title=title))
    columns = table.columns()
    if not table.rows:
        yield Verdict(name="`list_emails`, `get_status`", beside="history", bound=1.5, at_most=True, figures=[])
    for way in dict.fromkeys(row.removesuffix(_DEEP) for row in table.rows):
        pages = [
            [large / small for small, large in zip(*(table.figures(row, columns[at]) for at in (0, -1)), strict=True)]
            for row in (way, way + _DEEP)
            if row in table.rows
        ]
        tool, comma, filters = way.partition(", ")
        sizes = " to ".join(columns[at].removesuffix(", ms") for at in (-1, 0))
        yield Verdict(
            name=f"`{tool}`{comma}{filters}",
            beside=sizes + (", the slower of first and deep page" if len(pages) > 1 else ""),
            bound=1.5,
            at_most=True,
            figures=[max(turn) for turn in zip(*pages, strict=True)],
        )


def _memory(tables: Tables) -> Iterator[Verdict]:
    for kind in ("SQLite", "Postgres"):
        row = f"outspool, {kind}"
        idle = _column(tables, "Memory", row, "idle PSS MB")
        later = _column(tables, "Memory", row, "after 1,000 PSS MB")
        yield Verdict(name="memory, idle", beside=f"{kind}, PSS", bound=90, at_most=True, figures=idle, unit="MB")
        more = [b - a for a, b in zip(idle, later, strict=False)]
        yield Verdict(
            name="memory, 1,000 emails more", beside=f"{kind}, PSS", bound=10, at_most=True, figures=more, unit="MB"
        )
    yield Verdict(
        name="memory, a 25 MB attachment streams",
        beside="PSS at its peak, more than idle",
        bound=25,
        at_most=True,
        figures=_column(tables, "Memory", "outspool, SQLite", "25 MB attachment, more PSS MB"),
        unit="MB",
    )


_DEEP = ", deep"

_BUDGETS: Sequence[Callable[[Tables], Iterator[Verdict]]] = (_start, _accept, _deliver, _claim, _due, _look, _memory)


def _column(tables: Tables, title: str, row: str, name: str) -> list[float]:
    return tables[title].figures(row, name) if title in tables else []


def _ratio(tables: Tables, title: str, ours: str, theirs: str, name: str) -> list[float]:
    """Return our figure by theirs, turn by turn: what the machine did meanwhile fell on both."""
    pairs = zip(_column(tables, title, ours, name), _column(tables, title, theirs, name), strict=False)
    return [our / their for our, their in pairs]


def _best(tables: Tables, title: str, prefix: str, name: str) -> str:
    """Return the contender of that name that did best in the median, "" if none took part."""
    rows = tables[title].rows if title in tables else {}
    mine = [row for row in rows if row.startswith(prefix) and rows[row].get(name)]
    return max(mine, key=lambda row: median(rows[row][name]), default="")


def _rows(tables: Tables, title: str) -> list[str]:
    return list(tables[title].rows) if title in tables else []
