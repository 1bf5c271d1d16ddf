"""Runs one trial: processes and faults, then healing, waiting for the end, and checking."""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from chaos.cast import SHOW_TASKS
from chaos.checker import check
from chaos.evidence import gather
from chaos.outbox_reader import OutboxReader
from chaos.place import Place
from chaos.records import Evidence, Violation
from chaos.scenario import Scenario
from chaos.staging import staged
from chaos.strikes import Scene, strike

HORIZON = timedelta(hours=24)
"""What is due later than this after the last fault legitimately waits."""

_LOOK_SECONDS = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a trial: after real `seconds`, with so many `crashes`."""

    scenario: Scenario
    evidence: Evidence
    violations: tuple[Violation, ...]
    crashes: int
    seconds: float


async def run_trial(scenario: Scenario, place: Place, *, keep: Path | None = None) -> Result:
    """Run `scenario` and judge it. `keep`: where to copy what is left of a trial with a violation."""
    began = time.monotonic()
    async with place.trial_folder() as folder:
        async with staged(scenario, place, folder) as scene:
            watch = asyncio.create_task(scene.watch())
            await asyncio.gather(*(actor.start() for actor in scene.actors.values()))
            await asyncio.gather(*(strike(scene, fault) for fault in scenario.faults))
            unsettled = await _end(scene, scenario)
            watch.cancel()
            evidence = await gather(scenario, scene, unsettled)
        violations = tuple(check(evidence))
        if violations and keep is not None:
            await asyncio.to_thread(shutil.copytree, folder, keep / f"seed-{scenario.seed}", dirs_exist_ok=True)
    return Result(
        scenario=scenario,
        evidence=evidence,
        violations=violations,
        crashes=scene.crashes,
        seconds=time.monotonic() - began,
    )


async def _end(scene: Scene, scenario: Scenario) -> str:
    """Wait until every caller has its answers and every email its end, then stop all; return what did not end."""
    scene.dial.right_all()
    for actor in scene.actors.values():
        if not actor.process.is_alive:
            await actor.start()
    patience = scenario.patience
    unsettled = await _answered(scene, patience) or await _settled(scene, patience)
    for actor in scene.actors.values() if unsettled else ():
        actor.process.signal(SHOW_TASKS)
    scene.exits += await asyncio.gather(*(actor.terminate() for actor in scene.actors.values()))
    return unsettled


async def _answered(scene: Scene, patience: float) -> str:
    for actor in scene.actors.values():
        if actor.role == "accepter":
            try:
                async with asyncio.timeout(patience * scene.tempo.stretch):
                    if not await actor.process.says("done"):
                        return f"{actor.name} ended by itself"
            except TimeoutError:
                return f"{actor.name} still waits for answers after {patience:.0f} s"
    return ""


async def _settled(scene: Scene, patience: float) -> str:
    """Let time pass, quickly where nothing is to be done, until nothing is due any more before the horizon."""
    reader = OutboxReader(scene.database_url)
    horizon = scene.dial.now() + HORIZON
    deadline = scene.tempo.now() + patience
    last_look = None
    while scene.tempo.now() < deadline:
        look = await reader.progress(scene.dial.now())
        if look.is_idle and (look.next is None or look.next > horizon):
            return ""
        if look != last_look:  # looked at twice, for a claim may be under way
            last_look = look
        elif look.is_idle and look.next is not None:
            await _warp(scene, reader, look.next - scene.dial.now())
        await scene.tempo.rest(_LOOK_SECONDS)
    return f"{await reader.progress(scene.dial.now())} after {patience:.0f} s"


async def _warp(scene: Scene, reader: OutboxReader, span: timedelta) -> None:
    scene.dial.warp(max(timedelta(), span) + timedelta(seconds=1))
    await reader.nudge()
