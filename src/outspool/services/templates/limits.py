"""Limits on one rendering, and counted versions of the operations that can use up much.

Templates come from the operator, but their variables from strangers, and a rendering cannot be interrupted. So whatever
could run or grow without limit is counted: loop iterations and macro calls by computing time, output by its length, and
multiplying operations by the size of their result.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment, pass_environment, pass_eval_context
from jinja2.filters import FILTERS, do_format, do_join, do_replace, do_round, do_sum
from jinja2.nodes import EvalContext
from jinja2.runtime import markup_join, str_join

from outspool.errors import TemplateError, brief

COMPUTING_SECONDS = 1.0
MAX_OUTPUT = 4_000_000
"""Characters that one rendering may produce in all."""

TURNS, CONCATENATION = "_turns", "_concatenation"
"""Names of the filters that count loop iterations and concatenation with ``~``."""

_LONGEST_REPEAT = 10_000
_LARGEST_NUMBER_BITS = 4096
_MOST_DIGITS = 20
_FLAGS_AND_WIDTH = re.compile(r"[-+ #0]*+(?P<wide>\*|\d{3,}+|\d{0,2}\.(?:\*|\d{3,}+))?")
"""The part of a ``%`` conversion before its kind; it is wide with three digits or more, or a variable width."""
_BLANK_LINES = re.compile(r"\n\s*\n")
_PARENTHESIS = re.compile(r"[()]")
_LINKS = ("https://", "http://", "mailto:", "tel:")

_HARMLESS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "filesizeformat", "first", "float"),
    *("groupby", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr"),
    *("reverse", "select", "selectattr", "sort", "string", "title", "trim", "truncate", "unique", "upper"),
    *("urlencode", "wordcount"),
)
"""Jinja filters whose time and output are proportional to their input.

``safe`` is left out: a caller's value is text and never becomes markup.
"""


class Budget:
    """The remaining time and output of one rendering."""

    def __init__(self) -> None:
        """Start counting; use it only in the thread that creates it."""
        self._until = time.thread_time() + COMPUTING_SECONDS
        self._made = 0

    def turns(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield `items` while there is time."""
        for item in items:
            self.turn()
            yield item

    def turn(self) -> None:
        """Count a loop iteration or a call. Raises `TemplateError` when the time is up."""
        if time.thread_time() > self._until:
            raise TemplateError(
                f"It takes more than {COMPUTING_SECONDS:g} s to fill in.", "Look for loops in loops, or give less."
            )

    def make(self, amount: int) -> None:
        """Count `amount` characters about to be produced. Raises `TemplateError` if they are too many."""
        self._made += amount
        if self._made > MAX_OUTPUT:
            raise TemplateError(f"It makes more than {MAX_OUTPUT:,} characters.", "Give less to fill in.")

    def sum(self, left: object, right: object) -> None:
        """Count ``left + right`` if it concatenates."""
        for kind in (str, list, tuple):
            if isinstance(left, kind) and isinstance(right, kind):
                self.make(len(left) + len(right))

    def product(self, left: object, right: object) -> None:
        """Count ``left * right``. Raises `TemplateError` for a huge number or repetition."""
        if isinstance(left, int) and isinstance(right, int):
            if left.bit_length() + right.bit_length() > _LARGEST_NUMBER_BITS:
                raise TemplateError("A product is too large.")
            return
        for repeated, times in ((left, right), (right, left)):
            if isinstance(repeated, (str, list, tuple)) and isinstance(times, int):
                if len(repeated) * times > _LONGEST_REPEAT:
                    raise TemplateError(f"Something is repeated to more than {_LONGEST_REPEAT:,} items.")
                self.make(len(repeated) * times)

    def formatting(self, text: str, values: Iterable[object]) -> None:
        """Count ``text % values``. Raises `TemplateError` for wide padding."""
        if pads_widely(text):
            raise TemplateError("A format pads to more than 99 characters.", "Give widths of one or two digits.")
        self.make(len(text) + text.count("%") * sum(len(str(value)) for value in values))


def pads_widely(text: str) -> bool:
    """Tell whether a conversion in ``text % …`` pads to 100 characters or more, or to a variable width.

    Conversions are parsed as Python does: a key may contain parentheses, and an unterminated one is an error.
    """
    place = text.find("%")
    while place >= 0:
        place = _end_of_key(text, place + 1)
        found = _FLAGS_AND_WIDTH.match(text, place)
        if found is not None and found["wide"] is not None:
            return True
        # Here is the conversion's kind, which may itself be a "%".
        place = text.find("%", (found.end() if found is not None else place) + 1)
    return False


def _end_of_key(text: str, place: int) -> int:
    """Return the end of the key at `place`, if there is one; the end of the text if it is unterminated."""
    if not text.startswith("(", place):
        return place
    depth = 0
    for parenthesis in _PARENTHESIS.finditer(text, place):
        depth += 1 if parenthesis[0] == "(" else -1
        if not depth:
            return parenthesis.end()
    return len(text)


def filters(budget: Budget) -> dict[str, Callable[..., Any]]:
    """Return the filters of templates: harmless ones of Jinja, counted ones, and outspool's own."""
    return {
        **{name: FILTERS[name] for name in _HARMLESS},
        **_count(budget),
        "round": _round,
        "sum": _sum,
        "link": _link,
        "paragraphs": _paragraphs,
    }


def _count(budget: Budget) -> dict[str, Callable[..., Any]]:
    def format_(value: str, *args: Any, **kwargs: Any) -> str:
        budget.formatting(value, (*args, *kwargs.values()))
        return do_format(value, *args, **kwargs)

    @pass_eval_context
    def join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> Any:
        items = list(value)
        budget.make(len(items) * len(str(d)) + sum(map(len, map(str, items))))
        return do_join(context, items, d, attribute)

    @pass_eval_context
    def replace(context: EvalContext, s: str, old: str, new: str, count: int | None = None) -> Any:
        budget.make(len(str(s)) + str(s).count(str(old)) * len(str(new)))
        return do_replace(context, s, old, new, count)

    @pass_eval_context
    def concatenation(context: EvalContext, parts: Sequence[Any]) -> Any:
        budget.make(sum(len(str(part)) for part in parts))
        return markup_join(parts) if context.autoescape else str_join(parts)

    return {
        "format": format_,
        "join": join,
        "replace": replace,
        CONCATENATION: concatenation,
        TURNS: budget.turns,
    }


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > _MOST_DIGITS:
        raise TemplateError(f"round has at most {_MOST_DIGITS} digits.")
    return do_round(value, precision, method)


@pass_environment
def _sum(environment: Environment, values: Iterable[Any], attribute: str | int | None = None) -> Any:
    """Add numbers; adding lists would take quadratic time."""
    return do_sum(environment, values, attribute)


def _link(value: object) -> str:
    """Return a link address unchanged. Raises `TemplateError` for one with a dangerous scheme."""
    address = str(value).strip()
    if not address.lower().startswith(_LINKS):
        raise TemplateError(f"{brief(value)} is no address to link to.", "Give one that begins with https://.")
    return address


def _paragraphs(value: object) -> list[list[str]]:
    """Return the lines of each paragraph; paragraphs are separated by blank lines."""
    return [paragraph.splitlines() for paragraph in _BLANK_LINES.split(str(value).strip().replace("\r\n", "\n"))]


def values_of(operand: object) -> Iterable[object]:
    """Return the values to the right of ``%``."""
    if isinstance(operand, Mapping):
        return operand.values()
    return operand if isinstance(operand, tuple) else (operand,)
