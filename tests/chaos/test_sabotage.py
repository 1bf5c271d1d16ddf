"""The checker finds planted bugs, in scenarios that reveal each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from chaos.place import Place, open_place
from chaos.scenario import Accepter, Fault, Peril, Scenario, Step
from chaos.trial import run_trial
from support.zygote import Zygote

SLOW_REPLIES = Fault(peril=Peril.SMTP_FAULT, at=0.0, seconds=6.0, steps={"taken": "wait 1.5"})
"""Whoever delivers waits for a reply nearly always, and the message is taken by then."""

KILL = Fault(peril=Peril.KILL, at=2.5, seconds=0.0, target="worker 0")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    """Return where trials take place."""
    async with Zygote("chaos.roles") as zygote, open_place(zygote, with_postgres=False) as opened:
        yield opened


@dataclass(frozen=True)
class Rehearsal:
    """A small scenario on SQLite; its emails come from two processes at once."""

    place: Place

    async def breaks(
        self,
        sabotage: str | None,
        *faults: Fault,
        workers: tuple[int, ...] = (2,),
        emails: int = 8,
        rate_limit: int | None = None,
        patience: float = 30.0,
    ) -> set[str]:
        """Return which promises are broken."""
        steps = [
            Step(number=n, at=0.0, do="accept", draft={"to": [f"r{n}@example.com"], "subject": f"ask {n}", "body": "x"})
            for n in range(emails)
        ]
        scenario = Scenario(
            seed=0,
            database="sqlite",
            workers=workers,
            accepters=(Accepter(callers=(tuple(steps[::2]),)), Accepter(callers=(tuple(steps[1::2]),))),
            faults=faults,
            rate_limit=rate_limit,
            sabotage=sabotage,
            patience=patience,
        )
        result = await run_trial(scenario, self.place)
        assert len(result.evidence.answers) == emails
        return {violation.promise for violation in result.violations}


@pytest.fixture
def rehearsal(place: Place) -> Rehearsal:
    """Return the small scenario."""
    return Rehearsal(place)


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
class TestSabotage:
    async def test_none_breaks_no_promise(self, rehearsal: Rehearsal) -> None:
        assert await rehearsal.breaks(None, SLOW_REPLIES, KILL, workers=(2, 2)) == set()

    async def test_a_dropped_mark_is_found(self, rehearsal: Rehearsal) -> None:
        assert "nothing is sent twice" in await rehearsal.breaks("dropped mark", SLOW_REPLIES, KILL)

    async def test_a_double_claim_is_found(self, rehearsal: Rehearsal) -> None:
        broken = await rehearsal.breaks("double claim", SLOW_REPLIES, workers=(2, 2))
        assert {"nothing is sent twice", "the history is lawful"} <= broken

    async def test_a_lost_rescue_is_found(self, rehearsal: Rehearsal) -> None:
        assert "none is stuck" in await rehearsal.breaks("lost rescue", SLOW_REPLIES, KILL, patience=6)

    async def test_a_dropped_record_is_found(self, rehearsal: Rehearsal) -> None:
        assert "in doubt only by a fault" in await rehearsal.breaks("dropped record")

    async def test_an_accept_over_the_limit_is_found(self, rehearsal: Rehearsal) -> None:
        assert await rehearsal.breaks(None, emails=12, rate_limit=5) == set()
        assert await rehearsal.breaks("over-limit accept", emails=12, rate_limit=5) == {"the rate limit holds"}
