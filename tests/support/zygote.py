"""Processes in some 20 ms each: a zygote that has imported everything forks them on command.

Starting Python and importing outspool costs a second of processor time, a fork a fiftieth of that; thousands of
processes are only to be had so. It is sound because the zygote has one thread, no event loop, no connection and no
open database when it forks: a child differs from a fresh process in nothing but its start.

::

    async with Zygote("chaos.roles") as zygote:
        worker = await zygote.fork("worker", {"database_url": …}, log=folder / "worker.log")
        await worker.says("ready")
        worker.signal(signal.SIGKILL)
        status = await worker.ended()

The module named has `ROLES`, which maps a role to a function of what is given and of `say`, which tells us how far it
is. The children end with their zygote, and that with whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

Role = Callable[[Mapping[str, Any], Callable[[str], None]], None]
"""What a child does, until it returns: with what it was given, and a call that says a word to whoever ordered it."""

_PATIENCE = 30.0


class Child:
    """A forked process, as seen by whoever asked for it."""

    def __init__(self, name: str) -> None:
        """Know it by its role, until it has an id."""
        self.name = name
        self.pid = 0
        self._said: set[str] = set()
        self._news = asyncio.Condition()
        self._status: int | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been reported."""
        return bool(self.pid) and self._status is None

    def has_said(self, word: str) -> bool:
        """Whether it said this."""
        return word in self._said

    async def born(self) -> None:
        """Return when it has an id."""
        await self._until(lambda: bool(self.pid))

    async def says(self, word: str) -> bool:
        """Return when it says this, or has ended; whether it said it."""
        await self._until(lambda: word in self._said or self._status is not None)
        return word in self._said

    async def ended(self) -> int:
        """Return its exit status, negative for the signal that ended it, when it has ended."""
        await self._until(lambda: self._status is not None)
        assert self._status is not None
        return self._status

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE), self._news:
            await self._news.wait_for(holds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still lives."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def note(self, *, pid: int | None = None, word: str | None = None, status: int | None = None) -> None:
        """Take in what the zygote, or the child itself, reports."""
        async with self._news:
            self.pid = pid or self.pid
            self._said |= {word} if word else set()
            self._status = status if self._status is None else self._status
            self._news.notify_all()


class Zygote:
    """The process that forks, as seen by whoever started it."""

    def __init__(self, module: str) -> None:
        """Fork children that run the roles of `module`."""
        self._module = module
        self._children: dict[int, Child] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Start it; it is ready some seconds later, and takes orders at once."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "support.zygote", self._module, stdin=pipe, stdout=pipe, env=_environment()
        )
        self._reader = asyncio.create_task(self._read(), name="zygote")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it and every child."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    async def fork(self, role: str, given: Mapping[str, Any], *, log: Path) -> Child:
        """Start a child in `role`; what it prints goes to the end of `log`."""
        assert self._process is not None
        assert self._process.stdin is not None
        number = len(self._children)
        child = self._children[number] = Child(role)
        order = {"number": number, "role": role, "given": given, "log": str(log)}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        await child.born()
        return child

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            news = json.loads(line)
            await self._children[news.pop("number")].note(**news)
        for child in self._children.values():
            await child.note(status=-signal.SIGKILL)  # where the zygote is gone, so are they


def _environment() -> dict[str, str]:
    """Return what a zygote needs to find its modules, and nothing that could configure an outspool."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}


def main(module: str) -> None:
    """Fork children as ordered on stdin, one JSON object a line; report on stdout what becomes of them."""
    roles: Mapping[str, Role] = importlib.import_module(module).ROLES
    waker, wakened = os.pipe()
    os.set_blocking(wakened, False)
    signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us
    gc.collect()
    gc.freeze()  # the children's collections leave what they share with us alone
    numbers: dict[int, int] = {}
    orders = b""
    while True:
        ready, _, _ = select.select([0, waker], [], [])
        if waker in ready:
            os.read(waker, 4096)
            _bury(numbers)
        if 0 in ready:
            received = os.read(0, 65536)
            if not received:
                break
            *lines, orders = (orders + received).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _live(order, roles[order["role"]])
                numbers[pid] = order["number"]
                report(order["number"], pid=pid)
    for pid in numbers:
        os.kill(pid, signal.SIGKILL)


def report(number: int, *, to: int = 1, **news: object) -> None:
    """Tell whoever started the zygote; short enough that lines of several processes never mix."""
    os.write(to, json.dumps({"number": number, **news}).encode() + b"\n")


def _bury(numbers: dict[int, int]) -> None:
    while numbers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        report(numbers.pop(pid), status=os.waitstatus_to_exitcode(status))


def _live(order: Mapping[str, Any], role: Role) -> None:
    """Be the child. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        news = os.dup(1)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for theirs, ours in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(theirs, ours)
        role(order["given"], lambda word: report(order["number"], word=word, to=news))
    except BaseException:  # noqa: BLE001 - whatever it is belongs into the child's log, not into the zygote
        traceback.print_exc()
        _leave(1)
    _leave(0)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # what the interpreter would tidy up is the zygote's


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main(sys.argv[1])
