"""The roles of a trial's processes, forked from a zygote: dispatcher, accepter, SMTP server.

Everything that they need is imported here, before the fork.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiosmtplib  # noqa: F401 - outspool imports it at the first delivery
import alembic.command  # noqa: F401 - this at the first migration
import apscheduler.executors.asyncio  # noqa: F401 - this by its name
import asyncpg  # noqa: F401 - this at the first connection
import email_validator  # noqa: F401 - and this at the first address
from chaos.caller import Caller, Journal
from chaos.cast import SHOW_TASKS
from chaos.engine import outspool
from chaos.sabotage import sabotage
from chaos.tempo import Tempo
from support.fast_clock import FastClock
from support.smtp_sink_server import listen, quieten
from support.zygote import Role

from outspool.app.runtime import Outspool
from outspool.cli.runs import stop_on_signals


def worker(given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Dispatch until told to stop, as ``outspool worker`` does."""
    asyncio.run(_work(_begin(given), say))


def accepter(given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Take a plan's steps one by one, where a former process of the same journal left off; then wait for the end.

    Dispatches too, as ``outspool`` over stdio does, unless ``connections`` is 0.
    """
    asyncio.run(_accept(_begin(given), given, say))


def smtp(given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Be the SMTP server of the trial, until killed."""
    quieten()
    asyncio.run(_serve(dict(given), say))


ROLES: Mapping[str, Role] = {"worker": worker, "accepter": accepter, "smtp": smtp}


def _begin(given: Mapping[str, Any]) -> Outspool:
    os.environ.update(given["environment"])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    logging.getLogger("outspool").setLevel(logging.INFO)
    sabotage(given.get("sabotage"))
    return outspool(FastClock(Path(given["dial"]), hand=given["hand"]), Tempo(**given["tempo"]))


def _show_tasks() -> None:
    """Write into the log what every task waits for."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


async def _work(app: Outspool, say: Callable[[str], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(SHOW_TASKS, _show_tasks)
    stop = stop_on_signals()
    async with app.run(worker=True):
        say("ready")
        await stop.wait()


async def _accept(app: Outspool, given: Mapping[str, Any], say: Callable[[str], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(SHOW_TASKS, _show_tasks)
    stop = stop_on_signals()
    tempo = Tempo(**given["tempo"])
    journal = Journal(Path(given["journal"]), app.clock)
    async with app.run(worker=given["connections"] > 0):
        say("ready")
        callers = [Caller(app.outbox, journal, tempo) for _ in given["plan"]]
        calling = asyncio.gather(*(caller.take(steps) for caller, steps in zip(callers, given["plan"], strict=True)))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((calling, stopping), return_when=asyncio.FIRST_COMPLETED)
        for caller in callers:
            caller.is_stopped = True  # each ends the call it is in: a client would have its answer
        await calling
        say("done")
        await stopping


async def _serve(settings: dict[str, Any], say: Callable[[str], None]) -> None:
    server = await listen(settings)
    say("ready")
    await server.serve_forever()
