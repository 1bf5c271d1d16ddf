"""Several processes that do the same thing at the same moment."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from support.outbox_samples import EVERYTHING, NOW, Outlet, an_email, outlet
from support.racer import race
from support.variables import variables

from outspool.adapters.sql.tables import emails as table
from outspool.domain.transition import Transition


@pytest.mark.timeout(120)
def test_eight_processes_with_one_idempotency_key_make_one_email(database_url: str, tmp_path: Path) -> None:
    answers = race(variables(tmp_path, database_url=database_url), processes=8, count=10, key="only-once")
    assert len(answers) == 80
    assert len(set(answers)) == 1


@pytest.mark.timeout(120)
def test_eight_processes_accept_exactly_as_many_as_the_limit_allows(database_url: str, tmp_path: Path) -> None:
    limited = variables(tmp_path, database_url=database_url, EMAIL_RATE_LIMIT_PER_HOUR=100)
    answers = Counter(race(limited, processes=8, count=20))
    assert answers.pop("rate_limited") == 60
    assert len(answers) == 100
    assert set(answers.values()) == {1}


RACES = 10_000


@pytest.mark.timeout(300)
@pytest.mark.slow
async def test_an_email_is_canceled_or_claimed_in_ten_thousand_races_and_never_both(database_url: str) -> None:
    chance = random.Random(3)
    async with outlet(database_url) as agent, outlet(database_url) as worker:
        won: Counter[str] = Counter()
        emails = [an_email() for _ in range(100)]
        await asyncio.gather(*(agent.accept(email) for email in emails))
        ids = [email.id for email in emails]
        for _ in range(RACES // len(ids)):
            won += await _a_race_for_each(ids, agent, worker, chance)
            again = sa.update(table).values(status="queued", lease=None, lease_until=None)
            await agent.database.write(partial(_execute, statement=again))
    assert won["both"] == won["neither"] == 0
    assert won["canceled"] + won["claimed"] == RACES
    assert min(won["canceled"], won["claimed"]) > RACES / 100, "one of them always won: this was no race"


def _execute(connection: sa.Connection, statement: sa.Executable) -> None:
    connection.execute(statement)


async def _a_race_for_each(ids: Sequence[UUID], agent: Outlet, worker: Outlet, chance: random.Random) -> Counter[str]:
    canceled: set[UUID] = set()

    async def cancel(email_id: UUID) -> None:
        if await agent.store.record(email_id, Transition.canceled(at=NOW), EVERYTHING):
            canceled.add(email_id)

    async def cancel_all() -> None:
        order = chance.sample(ids, k=len(ids))
        while order:
            together = [order.pop() for _ in range(min(len(order), chance.randint(1, 10)))]
            await asyncio.gather(*(cancel(email_id) for email_id in together))

    async def claim_all() -> set[UUID]:
        claimed: set[UUID] = set()
        while batch := await worker.claim(limit=chance.randint(1, 12)):
            assert not claimed & {email.id for email in batch}
            claimed |= {email.id for email in batch}
        return claimed

    claimed, _ = await asyncio.gather(claim_all(), cancel_all())
    return Counter(
        both=len(claimed & canceled),
        neither=len(set(ids) - claimed - canceled),
        claimed=len(claimed),
        canceled=len(canceled),
    )
