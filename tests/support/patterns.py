"""Every regular expression of the program, and texts made to slow each down."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import time
import warnings
from collections.abc import Iterator
from itertools import product
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import sre_constants
    import sre_parse

import outspool

_MOST_ATOMS = 8
TOO_SLOW = 0.15
"""Seconds. What takes time in proportion to its text takes a hundredth of that."""
_CATEGORIES = {
    sre_constants.CATEGORY_DIGIT: "1",
    sre_constants.CATEGORY_SPACE: " \n",
    sre_constants.CATEGORY_WORD: "a",
    sre_constants.CATEGORY_NOT_SPACE: "a",
    sre_constants.CATEGORY_NOT_DIGIT: "a",
    sre_constants.CATEGORY_NOT_WORD: "-",
}


def all_patterns() -> dict[str, re.Pattern[Any]]:
    """Return the compiled expressions of each module, and those that stand in calls of `re`, by where they stand."""
    found: dict[str, re.Pattern[Any]] = {}
    for info in pkgutil.walk_packages(outspool.__path__, "outspool."):
        if info.name.endswith("__main__") or ".migrations" in info.name:
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            for number, pattern in enumerate(_patterns_in(value)):
                found[f"{info.name}:{name}" + (f"[{number}]" if number else "")] = pattern
        for line, pattern in _patterns_in_calls(inspect.getsource(module)):
            found[f"{info.name}:{line}"] = pattern
    return found


def _patterns_in(value: object, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, (tuple, list)) and depth:
        for one in value:
            yield from _patterns_in(one, depth - 1)
    elif isinstance(value, dict) and depth:
        yield from _patterns_in(list(value.values()), depth - 1)
    elif type(value).__name__ == "_Rule":  # the table of replies
        yield from _patterns_in([getattr(value, name) for name in type(value).__slots__], depth - 1)  # type: ignore[attr-defined]


def _patterns_in_calls(source: str) -> Iterator[tuple[int, re.Pattern[Any]]]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        first = node.args[0]
        is_use = getattr(node.func.value, "id", "") == "re" and node.func.attr != "compile"
        if is_use and isinstance(first, ast.Constant) and isinstance(first.value, (str, bytes)):
            yield node.lineno, re.compile(first.value)


def atoms(pattern: re.Pattern[Any]) -> list[str]:
    """Return short strings that the expression has something to do with: its literals, and one of each class."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    found = dict.fromkeys(_characters(sre_parse.parse(source, pattern.flags & re.VERBOSE)))
    return [*found][:_MOST_ATOMS]


def _characters(node: Any) -> Iterator[str]:
    """Yield characters that a part of an expression matches."""
    node = node.data if isinstance(node, sre_parse.SubPattern) else node
    if isinstance(node, list):
        for one in node:
            yield from _characters(one)
    elif isinstance(node, tuple) and len(node) == 2 and isinstance(node[0], sre_constants._NamedIntConstant):
        kind, inner = node
        if kind in (sre_constants.LITERAL, sre_constants.NOT_LITERAL):
            yield chr(inner)
        elif kind is sre_constants.RANGE:
            yield chr(inner[0])
        elif kind is sre_constants.CATEGORY:
            yield from _CATEGORIES.get(inner, "")
        elif kind is sre_constants.ANY:
            yield "a"
        else:
            yield from _characters(inner)
    elif isinstance(node, tuple):
        for one in node:
            yield from _characters(one)


def attacks(pattern: re.Pattern[Any], size: int) -> Iterator[str]:
    """Yield texts of about `size` characters: each atom, and each pair, over and over, then what ends no match."""
    found = atoms(pattern)
    pumps = [*found, *("".join(pair) for pair in product(found, found))]
    for pump in pumps:
        for start in ("", found[0] if found else ""):
            for end in ("", "\0"):
                yield start + pump * (size // len(pump)) + end


def is_searched_with(name: str) -> bool:
    """Whether the expression of this name looks for its beginning; others begin where they are told to."""
    module, _, variable = name.partition(":")
    source = inspect.getsource(importlib.import_module(module))
    uses = re.findall(rf"\b{re.escape(variable)}\.(\w+)", source)
    return not uses or not set(uses) <= {"match", "fullmatch", "pattern"}


def slowest(pattern: re.Pattern[Any], size: int, *, searches: bool) -> tuple[float, str]:
    """Return how many seconds the worst attack of this size took, and its beginning; the first that is too slow."""
    worst = (0.0, "")
    for text in attacks(pattern, size):
        subject: Any = text.encode("utf-8", "surrogatepass") if isinstance(pattern.pattern, bytes) else text
        for method in (pattern.search if searches else pattern.match, pattern.fullmatch):
            start = time.thread_time()
            method(subject)
            worst = max(worst, (time.thread_time() - start, text[:12]))
            if worst[0] > TOO_SLOW:
                return worst
    return worst


def sweep(limits: dict[str, int]) -> dict[str, tuple[float, str]]:
    """Return `slowest` of each expression that is too slow at its limit; that of "" is the limit of most."""
    found = {
        name: slowest(one, limits.get(name, limits[""]), searches=is_searched_with(name))
        for name, one in all_patterns().items()
    }
    return {name: worst for name, worst in found.items() if worst[0] > TOO_SLOW}
