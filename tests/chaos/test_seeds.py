"""A few fixed seeds of the trials that ``make chaos`` runs by the thousand."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.generator import scenario
from chaos.report import describe
from chaos.scenario import Scenario
from chaos.series import run_series
from chaos.trial import Result

SEEDS = range(1, 8)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.long
async def test_no_trial_breaks_a_promise(database: str, tmp_path: Path) -> None:
    results: list[Result] = []
    failures: list[tuple[Scenario, str]] = []
    await run_series(
        [scenario(seed, database=database) for seed in SEEDS],
        jobs=3,
        tell=results.append,
        cannot_tell=lambda plan, why: failures.append((plan, why)),
        keep=tmp_path,
    )
    broken = [f"{result.scenario}\n{describe(result)}" for result in results if result.violations]
    assert not broken, "\n".join(broken)
    assert not failures, failures
    assert sum(len(result.evidence.emails) for result in results) > 10 * len(SEEDS)
