"""Applies and heals the faults of a scenario, and records what each can explain."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from chaos.cast import Actor
from chaos.forked_sink import ForkedSink
from chaos.records import Excuse, Exit
from chaos.scenario import BEAT_SECONDS, GRACE_SECONDS, LEASE_SECONDS, SPEED, Fault, Peril
from chaos.tempo import Tempo
from support.fast_clock import ClockDial
from support.postgres import PostgresServer
from support.tcp_proxy import TcpProxy

LEAST_ABSENCE = LEASE_SECONDS / SPEED - 3 * BEAT_SECONDS
"""Seconds: away for less, a worker keeps its leases, however unluckily its heartbeats fell."""

_GLANCE_SECONDS = 0.2

_FULL = 32 * 1024
"""No file grows beyond so many bytes when the disk is full."""

_LOST = frozenset({"worker_lost"})
_SILENT = frozenset({"in_doubt"})


@dataclass(slots=True, kw_only=True)
class Scene:
    """All that can be struck, and what came of it so far."""

    folder: Path
    database_url: str
    """Of the server itself, past any proxy."""
    dial: ClockDial
    sink: ForkedSink
    postgres: PostgresServer | None
    smtp_line: TcpProxy
    database_line: TcpProxy | None
    tempo: Tempo
    started: datetime
    """By the trial's clocks."""
    actors: dict[str, Actor] = field(default_factory=dict)
    excuses: list[Excuse] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    turns: dict[Peril, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    """What strikes one and the same thing strikes it one after the other."""
    crashes: int = 0
    outage: float = 0.0
    """Seconds for which the database was away so far."""

    @property
    def connections(self) -> int:
        """How many SMTP connections may be open in all."""
        return sum(actor.connections for actor in self.actors.values())

    async def watch(self) -> None:
        """Note, until canceled, when the machine does not let us work in time: then it does not let workers either."""
        while True:
            since, began = self.dial.now(), self.tempo.now()
            await self.tempo.rest(_GLANCE_SECONDS)
            if self.tempo.now() - began > LEAST_ABSENCE:
                self.excuse("the machine stood still", _LOST, since, self.connections)

    def excuse(self, why: str, codes: frozenset[str], since: datetime, most: int) -> None:
        """Note that something happened from `since` until now."""
        if most:
            self.excuses.append(Excuse(why=why, codes=codes, since=since, until=self.dial.now(), most=most))


async def strike(scene: Scene, fault: Fault) -> None:
    """Let `fault` strike at its moment, and return when it is healed."""
    await scene.tempo.until(fault.at)
    match fault.peril:
        case Peril.KILL | Peril.STOP | Peril.TERMINATE | Peril.DISK_FULL | Peril.CLOCK_STEP:
            await _strike_process(scene, fault)
        case Peril.DATABASE_RESTART | Peril.DATABASE_CRASH:
            await _strike_database(scene, fault)
        case Peril.DATABASE_LINE | Peril.SMTP_LINE:
            await _strike_line(scene, fault)
        case Peril.SMTP_RESTART:
            await _strike_smtp_server(scene, fault)
        case Peril.SMTP_FAULT:
            scene.sink.fail(**fault.steps)
            await scene.tempo.rest(fault.seconds)
            scene.sink.fail()


async def _strike_process(scene: Scene, fault: Fault) -> None:
    actor = scene.actors[fault.target]
    async with actor.turn:
        since = scene.dial.now()
        match fault.peril:
            case Peril.KILL:
                scene.crashes += 1
                await actor.process.kill()
                scene.excuse(str(fault), _LOST, since, actor.connections)
                await scene.tempo.rest(fault.seconds)
                await actor.start()
            case Peril.TERMINATE:
                exit_ = await actor.terminate()
                scene.exits.append(exit_)
                interrupted = exit_.seconds > 0.8 * GRACE_SECONDS
                scene.excuse(str(fault), _SILENT | _LOST, since, actor.connections if interrupted else 0)
                await scene.tempo.rest(fault.seconds)
                await actor.start()
            case Peril.STOP:
                actor.process.signal(signal.SIGSTOP)
                await scene.tempo.rest(fault.seconds)
                actor.process.signal(signal.SIGCONT)
                overslept = fault.seconds > LEAST_ABSENCE
                scene.excuse(str(fault), _LOST, since, actor.connections if overslept else 0)
            case Peril.DISK_FULL:
                _limit_files(actor, _FULL)
                await scene.tempo.rest(fault.seconds)
                _limit_files(actor, resource.RLIM_INFINITY)
                absent = fault.seconds > LEAST_ABSENCE
                scene.excuse(str(fault), _LOST, since, actor.connections if absent else 0)
            case _:
                hand = actor.given["hand"]
                scene.dial.step(hand, fault.amount)
                await scene.tempo.rest(fault.seconds)
                scene.dial.step(hand, 0)
                far = abs(fault.amount) / SPEED > LEAST_ABSENCE
                scene.excuse(str(fault), _LOST, since, scene.connections if far else 0)


def _limit_files(actor: Actor, size: int) -> None:
    if actor.process.is_alive:
        resource.prlimit(actor.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def _strike_database(scene: Scene, fault: Fault) -> None:
    async with _outage(scene, fault):
        assert scene.postgres is not None
        crash = fault.peril is Peril.DATABASE_CRASH
        scene.crashes += crash
        await asyncio.to_thread(scene.postgres.stop, immediately=crash)
        await scene.tempo.rest(fault.seconds)
        await asyncio.to_thread(scene.postgres.start)


async def _strike_smtp_server(scene: Scene, fault: Fault) -> None:
    async with scene.turns[Peril.SMTP_RESTART]:
        since = scene.dial.now()
        await scene.sink.die()
        await scene.tempo.rest(fault.seconds)
        await scene.sink.live()
        scene.excuse(str(fault), _SILENT, since, scene.connections)


async def _strike_line(scene: Scene, fault: Fault) -> None:
    if fault.peril is Peril.DATABASE_LINE:
        async with _outage(scene, fault):
            assert scene.database_line is not None
            await _spoil(scene, scene.database_line, fault)
        return
    async with scene.turns[Peril.SMTP_LINE]:
        since, line = scene.dial.now(), scene.smtp_line
        at_stake = {"latency": 0, "cut after": 1, "refuse": 0}.get(fault.how, line.connections)
        await _spoil(scene, line, fault)
        scene.excuse(str(fault), _SILENT, since, at_stake)


async def _spoil(scene: Scene, line: TcpProxy, fault: Fault) -> None:
    """Let something befall a line, and heal it; what a black hole swallowed is never made up for, so it is reset."""
    match fault.how:
        case "latency":
            line.latency = fault.amount
        case "black hole":
            line.is_black_hole = True
        case "reset":
            line.reset_all()
        case "cut after":
            line.cut_after(int(fault.amount))
        case "refuse":
            await line.refuse()
    await scene.tempo.rest(fault.seconds)
    line.latency = 0.0
    line.cut_after(None)
    if fault.how == "black hole":
        line.is_black_hole = False
        line.reset_all()
    elif fault.how == "refuse":
        await line.listen()


@asynccontextmanager
async def _outage(scene: Scene, fault: Fault) -> AsyncIterator[None]:
    """Let nobody else strike the database meanwhile; too long away, and every worker loses its leases."""
    async with scene.turns[Peril.DATABASE_CRASH]:
        since, began = scene.dial.now(), scene.tempo.now()
        yield
        scene.outage += scene.tempo.now() - began
        scene.excuse(str(fault), _LOST, since, scene.connections if scene.outage > LEAST_ABSENCE else 0)
