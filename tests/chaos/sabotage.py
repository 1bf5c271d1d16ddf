"""Bugs planted in outspool, in one process, to test that the checker finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from outspool.adapters.sql import meter as sql_meter
from outspool.adapters.sql.queue import SqlQueue
from outspool.adapters.sql.store import SqlEmailStore
from outspool.adapters.sql.tables import emails


def sabotage(kind: str | None) -> None:
    """Let the outspool of this process do something wrong from now on; None: do not."""
    if kind is not None:
        SABOTAGES[kind]()


def _drop_marks() -> None:
    """Say that an email is marked, and write nothing."""
    SqlQueue.mark = _always(True)  # type: ignore[method-assign]


def _lose_rescues() -> None:
    """Leave with the dead what they hold."""
    SqlQueue.rescue = _always(0)  # type: ignore[method-assign]


def _drop_records() -> None:
    """Say that an outcome is recorded, and write nothing."""
    SqlEmailStore.record = _always(True)  # type: ignore[method-assign]


def _always(answer: object) -> Any:
    async def method(*_: Any, **__: Any) -> Any:
        return answer

    return method


def _claim_twice() -> None:
    """Claim what is due, and what others have claimed already."""
    claim_due = SqlQueue.claim_due
    free = emails.update().where(emails.c.status == "sending").values(status="queued", lease=None)

    async def claim(queue: SqlQueue, *what: Any, **how: Any) -> Any:
        await queue.database.write(lambda connection: connection.execute(free).rowcount)
        return await claim_due(queue, *what, **how)

    SqlQueue.claim_due = claim  # type: ignore[assignment]


def _ignore_caps() -> None:
    """Accept as many emails as are asked for."""
    sql_meter.take = lambda *_, **__: None


SABOTAGES: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "dropped mark": _drop_marks,
        "lost rescue": _lose_rescues,
        "dropped record": _drop_records,
        "double claim": _claim_twice,
        "over-limit accept": _ignore_caps,
    }
)
