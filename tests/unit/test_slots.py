"""The limit of concurrent deliveries, and their order."""

from __future__ import annotations

import asyncio

import pytest

from outspool.services.delivery.concurrency import ConcurrencyLimiter


class Crowd:
    """So many who want a turn; `going` are those who got one, in order."""

    def __init__(self, slots: ConcurrencyLimiter, count: int) -> None:
        self.slots = slots
        self.going: list[int] = []
        self.turns: dict[int, int | None] = {}
        self.tasks = [asyncio.create_task(self._go(n)) for n in range(count)]

    async def _go(self, n: int) -> None:
        self.turns[n] = await self.slots.take()
        self.going.append(n)

    async def wait_for_outcome(self) -> list[int]:
        for _ in range(5):
            await asyncio.sleep(0)
        return list(self.going)


class Time:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def ended(crowd: Crowd) -> None:
    crowd.slots.close()
    await asyncio.gather(*crowd.tasks, return_exceptions=True)


async def test_one_goes_first_and_each_that_is_served_makes_room_for_another() -> None:
    slots = ConcurrencyLimiter(3, elapsed=Time())
    crowd = Crowd(slots, 10)
    assert await crowd.wait_for_outcome() == [0]
    slots.raise_limit()
    slots.release(0)
    assert await crowd.wait_for_outcome() == [0, 1, 2]
    for _ in range(5):
        slots.raise_limit()
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3]  # three at most
    await ended(crowd)


async def test_turns_come_in_the_order_in_which_they_were_asked_for_and_the_canceled_are_skipped() -> None:
    slots = ConcurrencyLimiter(1, elapsed=Time())
    crowd = Crowd(slots, 5)
    await crowd.wait_for_outcome()
    crowd.tasks[1].cancel()
    slots.release(0)
    slots.release(0) if await crowd.wait_for_outcome() == [0, 2] else pytest.fail("not in order")
    assert await crowd.wait_for_outcome() == [0, 2, 3]
    await ended(crowd)


async def test_a_turn_granted_to_whoever_was_just_canceled_goes_to_the_next() -> None:
    slots = ConcurrencyLimiter(1, elapsed=Time())
    crowd = Crowd(slots, 3)
    await crowd.wait_for_outcome()
    slots.release(0)  # to the second, who has not run yet
    crowd.tasks[1].cancel()
    assert await crowd.wait_for_outcome() == [0, 2]
    await ended(crowd)


async def test_after_trouble_one_goes_although_others_still_hang() -> None:
    slots = ConcurrencyLimiter(4, elapsed=Time())
    for _ in range(3):
        slots.raise_limit()
    crowd = Crowd(slots, 8)
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3]
    slots.restart()
    slots.release(0)  # of the time before
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3, 4]
    slots.release(1)
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3, 4, 5]
    await ended(crowd)


async def test_what_the_server_has_no_room_for_is_asked_for_again_one_by_one_after_half_an_hour() -> None:
    time = Time()
    slots = ConcurrencyLimiter(8, elapsed=time)
    slots.lower_limit(2)
    for _ in range(20):
        slots.raise_limit()
    assert slots.most == 2
    time.seconds = 1800.0
    for _ in range(20):
        slots.raise_limit()
    assert slots.most == 3
    slots.lower_limit(0)
    assert slots.most == 1


async def test_one_connection_too_many_is_not_tried_again_for_a_while_once_others_are_served() -> None:
    time = Time()
    slots = ConcurrencyLimiter(4, elapsed=time)
    for _ in range(3):
        slots.raise_limit()
    crowd = Crowd(slots, 9)
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3]
    assert slots.reject_one()
    assert slots.reject_one()
    slots.release(0)
    slots.release(0)
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3]  # two are on the wire
    slots.raise_limit()  # one of them was served
    slots.raise_limit()
    slots.release(0)
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3, 4]
    assert slots.most == 2
    await ended(crowd)


async def test_the_last_to_be_turned_away_means_that_all_are() -> None:
    slots = ConcurrencyLimiter(3, elapsed=Time())
    for _ in range(2):
        slots.raise_limit()
    crowd = Crowd(slots, 9)
    await crowd.wait_for_outcome()
    assert [slots.reject_one() for _ in range(4)] == [True, True, False, False]
    slots.restart()
    slots.raise_limit()
    assert slots.most == 3
    await ended(crowd)


async def test_a_close_sends_everybody_home() -> None:
    slots = ConcurrencyLimiter(1, elapsed=Time())
    crowd = Crowd(slots, 4)
    await crowd.wait_for_outcome()
    slots.close()
    assert await crowd.wait_for_outcome() == [0, 1, 2, 3]
    assert crowd.turns == {0: 0, 1: None, 2: None, 3: None}
    assert await slots.take() is None


async def test_the_most_urgent_goes_first_and_of_one_order_the_first_to_ask() -> None:
    slots = ConcurrencyLimiter(1, elapsed=lambda: 0.0)
    held = await slots.take()
    assert held is not None
    went: list[str] = []

    async def go(name: str, order: float) -> None:
        turn = await slots.take(order)
        went.append(name if turn is not None else f"not {name}")
        if turn is not None:
            slots.release(turn)

    asked = (("late", 9.0), ("first", 5.0), ("second", 5.0), ("urgent", 1.0))
    going = [asyncio.create_task(go(name, order)) for name, order in asked]
    await asyncio.sleep(0)
    assert slots.waiting == 4
    assert slots.send_away(later_than=5.0) == 1
    slots.release(held)
    await asyncio.gather(*going)
    assert went == ["not late", "urgent", "first", "second"]
