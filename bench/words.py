"""Figures in words: rounded to what a measurement can bear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

_WHOLE, _TENTHS = 100, 10


def readable(figure: float) -> str:
    """Round a figure for a person."""
    if math.isnan(figure):
        return "not told"
    return f"{figure:,.{0 if abs(figure) >= _WHOLE else 1 if abs(figure) >= _TENTHS else 2}f}"


def spread(figures: Sequence[float]) -> str:
    """Return the median with the least and the greatest, or the only figure."""
    if len(figures) < 2 or min(figures) == max(figures):  # noqa: PLR2004 - one is no spread
        return readable(median(figures)) if figures else ""
    return f"{readable(median(figures))} ({readable(min(figures))} to {readable(max(figures))})"
