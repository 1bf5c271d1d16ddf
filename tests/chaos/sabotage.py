"""Faults planted into the product itself, in one process, to see that the checker finds what they break."""

from __future__ import annotations

from typing import Any

from outspool.adapters.sql_queue import SqlQueue


def sabotage(kind: str | None) -> None:
    """Let the outspool of this process do something wrong from now on; None: do not."""
    if kind is not None:
        _KINDS[kind]()


def _drop_marks() -> None:
    """Say that an email is marked, and write nothing."""

    async def mark(*_: Any, **__: Any) -> bool:
        return True

    SqlQueue.mark = mark  # type: ignore[method-assign]


def _lose_rescues() -> None:
    """Leave with the dead what they hold."""

    async def rescue(*_: Any, **__: Any) -> int:
        return 0

    SqlQueue.rescue = rescue  # type: ignore[method-assign]


_KINDS = {"dropped mark": _drop_marks, "lost rescue": _lose_rescues}
