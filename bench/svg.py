"""Bars as SVG, drawn by hand: the median of each contender as a bar, its least and greatest as a line across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from xml.sax.saxutils import escape

from bench.words import readable

_LABELS, _BARS, _VALUES = 330, 380, 110
_ROW, _HEAD = 26, 44
_OURS, _OTHERS, _INK, _PAPER = "#2563eb", "#9ca3af", "#1f2937", "#ffffff"


def bars(title: str, unit: str, figures: Mapping[str, Sequence[float]]) -> str:
    """Return a plot of these contenders; those whose name begins with "outspool" stand out, if any does."""
    width, height = _LABELS + _BARS + _VALUES, _HEAD + _ROW * len(figures) + 12
    most = max((max(of) for of in figures.values()), default=1) or 1
    has_others = any(name.startswith("outspool") for name in figures)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<g font-family="sans-serif" font-size="13" fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
        f'<text x="12" y="24" font-size="15" font-weight="bold">{escape(title)}: {escape(unit)}</text>',
    ]
    for nth, (name, of) in enumerate(figures.items()):
        colour = _OURS if not has_others or name.startswith("outspool") else _OTHERS
        parts += _bar(name, of, _HEAD + _ROW * nth, _BARS / most, colour)
    return "\n".join([*parts, "</g></svg>", ""])


def _bar(name: str, figures: Sequence[float], top: float, scale: float, colour: str) -> list[str]:
    middle, least, greatest = (scale * figure for figure in (median(figures), min(figures), max(figures)))
    y = top + _ROW / 2
    return [
        f'<text x="{_LABELS - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{_LABELS}" y="{top + 4:.1f}" width="{max(middle, 1):.1f}" height="{_ROW - 8}" fill="{colour}"/>',
        f'<line x1="{_LABELS + least:.1f}" x2="{_LABELS + greatest:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_INK}"/>',
        f'<text x="{_LABELS + max(middle, greatest) + 8:.1f}" y="{y + 4:.1f}">{readable(median(figures))}</text>',
    ]
