"""Closing a database while its threads are at work: SQLite crashes the process when one uses what another closes."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from outspool.adapters.sql import watch
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.sqlite import SqliteBackend

TIMES = 1000


def count_slowly(connection: sa.Connection) -> int:
    """Read for about a millisecond, in one statement."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT count(*) FROM n"
    found: int = connection.execute(sa.text(numbers)).scalar_one()
    return found


@pytest.fixture
def threads_of_ours() -> Callable[[], list[str]]:
    """Return what names our threads that did not live before the test: others' databases may be open."""
    before = set(threading.enumerate())
    return lambda: [t.name for t in threading.enumerate() if t.name.startswith("outspool-") and t not in before]


async def test_close_waits_for_its_readers_a_thousand_times(
    tmp_path: Path, threads_of_ours: Callable[[], list[str]]
) -> None:
    backend = SqliteBackend(tmp_path / "outspool.db")
    ended = 0
    for _ in range(TIMES):
        reads = [asyncio.create_task(backend.read(count_slowly)) for _ in range(3)]
        await asyncio.sleep(0)  # they are with the threads: two at work, one waits
        await backend.close()
        assert threads_of_ours() == []
        for result in await asyncio.gather(*reads, return_exceptions=True):
            assert result == 2000 or isinstance(result, asyncio.CancelledError)
            ended += result == 2000
    assert ended > TIMES  # they were at work, not sent away


async def test_a_watch_ends_while_it_looks_for_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads_of_ours: Callable[[], list[str]]
) -> None:
    """Its own connection is closed behind the query that runs, not beside it."""
    monkeypatch.setattr(watch, "_SQLITE_POLL_SECONDS", 0)
    async with Database(f"sqlite:///{tmp_path / 'outspool.db'}").open_until_exit() as database:
        for _ in range(300):
            async with watch.ChangeWatch(database).watch(lambda: None):
                await asyncio.sleep(random.uniform(0, 0.01))
            assert "outspool-watch" not in " ".join(threads_of_ours())


async def test_close_waits_for_its_writer(tmp_path: Path, threads_of_ours: Callable[[], list[str]]) -> None:
    backend = SqliteBackend(tmp_path / "outspool.db")
    has_begun = threading.Event()

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE notes (word TEXT)"))
        has_begun.set()
        time.sleep(0.2)
        connection.execute(sa.text("INSERT INTO notes VALUES ('kept')"))

    writing = asyncio.create_task(backend.write(write))
    await asyncio.to_thread(has_begun.wait)
    await backend.close()
    assert threads_of_ours() == []
    await writing
    words = await backend.read(lambda connection: connection.execute(sa.text("SELECT word FROM notes")).scalar_one())
    assert words == "kept"
    await backend.close()
