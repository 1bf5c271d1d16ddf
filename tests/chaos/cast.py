"""The processes of a trial, each with its settings, restarted after it dies."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.records import Exit
from chaos.scenario import GRACE_SECONDS
from chaos.tempo import Tempo
from support.zygote import Child, Zygote

SHOW_TASKS = signal.SIGUSR1
"""Lets a process write into its log what it waits for: a trial that does not end is asked so."""

_PATIENCE = 20.0
"""Seconds that a stop may take beyond its grace before we call it a hang."""


@dataclass(slots=True, kw_only=True)
class Actor:
    """A process of a trial; `connections` are those it may have open to the SMTP server."""

    name: str
    role: str
    zygote: Zygote
    given: Mapping[str, Any]
    log: Path
    tempo: Tempo
    connections: int = 0
    child: Child | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a fault has it: what strikes one process strikes it one after the other."""

    async def start(self) -> None:
        """Run it, and return when it says that it is ready, or has died of something."""
        self.child = await self.zygote.fork(self.role, self.given, log=self.log)
        await self.child.says("ready")

    @property
    def process(self) -> Child:
        """Its process of now, or the last one."""
        assert self.child is not None
        return self.child

    async def terminate(self) -> Exit:
        """Ask it to stop; kill it if it does not."""
        began = self.tempo.now()
        self.process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout((GRACE_SECONDS + _PATIENCE) * self.tempo.stretch):
                status = await self.process.ended()
        except TimeoutError:
            await self.process.kill()
            status = -signal.SIGKILL
        return Exit(name=self.name, status=status, seconds=self.tempo.now() - began)
