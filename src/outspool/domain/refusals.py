"""Collects refusals, so that a caller hears of all faults at once, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from outspool.errors import Refusal

_MOST = 10
"""Most faults said in one refusal; a caller reads no more."""


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: type[Refusal]
    message: str
    hint: str


class RefusalCollector:
    """Runs checks one after the other, and raises everything that they refuse as one error.

    ::

        faults = RefusalCollector()
        with faults.collect():
            check_one()
        with faults.collect():
            check_another()
        faults.raise_any()
    """

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._kinds: frozenset[type[Refusal]] = frozenset()

    def __bool__(self) -> bool:
        """Tell whether anything was refused."""
        return bool(self._faults)

    @property
    def is_full(self) -> bool:
        """True if further faults would not be named any more."""
        return len(self._faults) > _MOST

    @contextmanager
    def collect(self, place: str = "") -> Iterator[None]:
        """Keep a `Refusal` of the block, with `place` before its message; other errors pass through."""
        try:
            yield
        except Refusal as refusal:
            self.add(type(refusal), f"{place}{refusal.message}", refusal.hint, refusal.kinds)

    def add(
        self, kind: type[Refusal], message: str, hint: str = "", kinds: frozenset[type[Refusal]] = frozenset()
    ) -> None:
        """Add one fault. The same fault is kept once; `kinds` are the classes of a refusal that says several."""
        fault = _Fault(kind, message, hint)
        if fault not in self._faults:
            self._faults.append(fault)
        self._kinds |= kinds or {kind}

    def raise_any(self, ending: str = "") -> None:
        """Raise the faults as one refusal of the first one's class, if there are any; `ending` is its last sentence.

        Each fault is followed by its hint. A fault of another class than the first has its code before it.
        """
        if not self._faults:
            return
        first, *others = self._faults[:_MOST]
        hints = [first.hint]
        for fault in others:
            code = "" if fault.kind.code == first.kind.code else f"{fault.kind.code}: "
            hints += [f"{code}{fault.message}", "" if fault.hint in hints else fault.hint]
        if (rest := len(self._faults) - _MOST) > 0:
            hints.append(f"{rest} more faults follow.")
        refusal = first.kind(first.message, " ".join(filter(None, [*hints, ending])))
        refusal.kinds = self._kinds
        raise refusal
