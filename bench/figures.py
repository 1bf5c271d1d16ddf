"""Figures of one run, and the table that shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

Row = tuple[str, str, str, str, str, str]
HEAD: Row = ("what", "outspool", "beside it", "ratio", "budget", "in this run")
_WHOLE, _TENTHS = 100, 10


def compare(
    what: str, ours: Sequence[float], theirs: Sequence[float], *, unit: str, beside: str, budget: float | None = None
) -> Row:
    """Return the row of two lists, one figure a round; the ratio is taken round by round, its median judged."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    bound, verdict = (f"<= {budget:g}", judge(median(ratios), budget)) if budget else ("", "")
    return what, spread(ours, unit), f"{spread(theirs, unit)}, {beside}", spread(ratios), bound, verdict


def judge(figure: float, budget: float) -> str:
    """Say whether `figure` is within its budget."""
    return "met" if figure <= budget else "NOT met"


def spread(figures: Sequence[float], unit: str = "") -> str:
    """Return the median with the least and the greatest, or the only figure."""
    middle = f"{readable(median(figures))} {unit}".rstrip()
    return f"{middle} ({readable(min(figures))} to {readable(max(figures))})" if len(figures) > 1 else middle


def percentile(figures: Sequence[float], share: float) -> float:
    """Return the least figure that at least `share` (0 to 1) of all do not exceed."""
    return sorted(figures)[max(0, math.ceil(share * len(figures)) - 1)]


def readable(figure: float) -> str:
    """Round to what the measurement can bear."""
    return f"{figure:.{0 if abs(figure) >= _WHOLE else 1 if abs(figure) >= _TENTHS else 2}f}"


def table(rows: Sequence[Row]) -> str:
    """Align the rows under their head, however wide the terminal."""
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in (HEAD, *rows))
