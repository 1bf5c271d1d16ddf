"""`Account` on both databases: the state that all processes share."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from support.outbox_samples import NOW, Outlet

from outspool.adapters.sql.account import SqlAccount
from outspool.ports.account import LONGEST_PAUSE, AccountState

WELL = AccountState()
ILL = AccountState(
    paused_until=NOW + timedelta(minutes=5, microseconds=7),
    failures=2,
    kind="network",
    message="refused",
    hint="wait",
    credential="c",
)


async def test_the_accounts_state_is_shared(box: Outlet, other: Outlet) -> None:
    assert await other.account.state() == WELL
    assert await box.account.swap(WELL, ILL)
    assert await other.account.state() == ILL
    assert await other.account.swap(ILL, WELL)
    assert await box.account.swap(WELL, ILL)
    assert await other.account.state() == ILL


async def test_nobody_changes_a_state_that_changed_since_it_was_seen(box: Outlet, other: Outlet) -> None:
    longer = replace(ILL, paused_until=NOW + timedelta(hours=1), failures=3)
    assert await box.account.swap(WELL, ILL)
    assert await box.account.swap(ILL, longer)
    for stale in (WELL, ILL, replace(longer, failures=2), replace(longer, paused_until=NOW)):
        assert not await other.account.swap(stale, WELL)
    assert await other.account.state() == longer


@pytest.mark.parametrize("before", [WELL, replace(ILL, paused_until=None), ILL])
async def test_of_many_who_change_the_same_state_at_once_one_does(
    box: Outlet, other: Outlet, before: AccountState
) -> None:
    if before != WELL:
        assert await box.account.swap(WELL, before)
    news = [replace(ILL, failures=9, paused_until=NOW + timedelta(seconds=n)) for n in range(1, 13)]
    outcomes = await asyncio.gather(*((box, other)[n % 2].account.swap(before, state) for n, state in enumerate(news)))
    assert sum(outcomes) == 1
    assert await box.account.state() == news[outcomes.index(True)]


async def test_accounts_do_not_see_each_other(box: Outlet) -> None:
    assert await box.account.swap(WELL, ILL)
    another = SqlAccount(box.database, box.changes, name="another")
    assert await another.state() == WELL
    assert not await another.swap(ILL, WELL)
    assert await box.account.state() == ILL


def test_a_pause_that_only_a_wrong_clock_can_have_set_is_none() -> None:
    assert ILL.is_paused(NOW)
    assert not ILL.is_paused(NOW + timedelta(minutes=6))
    assert not ILL.is_paused(NOW - LONGEST_PAUSE)
    assert not WELL.is_paused(NOW)
