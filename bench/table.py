"""What a part finds: a table of contenders and their figures, one figure a turn.

Contenders take turns (A B A B), so that whatever else the machine does falls on all of them alike.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

Figures = Mapping[str, float]
"""By what they measure, unit included: ``p50 ms``."""

Contender = Callable[[], Awaitable[Figures]]


class AbsentError(Exception):
    """A contender cannot take part here; the message says why."""


@dataclass(slots=True, kw_only=True)
class Table:
    """`rows` holds for each contender the figures of all its turns; `absent` says why a contender has none.

    `drawn` names the figure that is plotted. `failed` is like `absent`, of what should have worked.
    """

    title: str
    note: str = ""
    drawn: str = ""
    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, contender: str, figures: Figures) -> None:
        """Note the figures of one turn."""
        row = self.rows.setdefault(contender, {})
        for name, figure in figures.items():
            row.setdefault(name, []).append(figure)

    def columns(self) -> list[str]:
        """Return the names of all figures, in the order they came."""
        return list(dict.fromkeys(name for row in self.rows.values() for name in row))

    def figures(self, contender: str, name: str) -> list[float]:
        """Return the figures of a contender, one a turn; none if it has none."""
        return self.rows.get(contender, {}).get(name, [])


async def take_turns(table: Table, contenders: Mapping[str, Contender], *, rounds: int, warm_ups: int = 0) -> Table:
    """Let every contender have `rounds` turns, one after another; turns of the `warm_ups` before do not count.

    Who fails drops out, and its row says why: an hour of measuring is not lost to one of them.
    """
    for turn in range(-warm_ups, rounds):
        for name, contender in contenders.items():
            if name in table.absent or name in table.failed:
                continue
            sys.stderr.write(f"  {table.title}: {name}\n")
            try:
                figures = await contender()
            except AbsentError as reason:
                table.absent[name] = str(reason)
            except Exception as error:  # noqa: BLE001 - whatever went wrong, the others go on
                table.failed[name] = f"{type(error).__name__}: {error}"[:300]
                sys.stderr.write(f"  FAILED: {table.failed[name]}\n")
            else:
                if turn >= 0:
                    table.add(name, figures)
    return table


def percentile(figures: Sequence[float], share: float) -> float:
    """Return the least figure that at least `share` (0 to 1) of all do not exceed."""
    return sorted(figures)[max(0, math.ceil(share * len(figures)) - 1)]


def latencies(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    return {"p50 ms": median(seconds) * 1000, "p99 ms": percentile(seconds, 0.99) * 1000}
