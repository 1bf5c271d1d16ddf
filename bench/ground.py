"""Where it happens: a sink, a Postgres that syncs to the disk, folders, and the environment of an outspool there."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.postgres import PostgresServer, fresh_database

from bench.history import write_history
from bench.sink import Sink, running_sink
from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.cli.runs import freeze_loaded_objects

BODY = f"{'A line of text. ' * 4}.\n" * 57
"""4 KB on the wire, headers and all."""
EMAIL: dict[str, Any] = {"to": ["ada@example.com"], "subject": "A figure", "body": BODY}
OUTSPOOL = (sys.executable, "-m", "outspool")

SQLITE, POSTGRES = "SQLite", "Postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of everything: the defaults are a full run, `SMOKE` the same in miniature, in less than a minute."""

    servers_on: tuple[str, ...] = (SQLITE, POSTGRES)
    """Databases under the programs that are measured from outside."""
    rounds: int = 3
    warm_ups: int = 1
    """Turns that do not count: the first fill caches, and open connections."""
    starts: int = 10
    """Rounds of what takes a second."""
    calls: int = 100
    calls_at_once: int = 500
    sends_too: bool = True
    """Whether accepting is also measured in servers that send meanwhile."""
    emails: int = 2000
    """Of 4 KB, in the queue when a worker begins."""
    large_emails: int = 40
    """Of 1 MB."""
    connections: tuple[int, ...] = (1, 4, 16)
    workers: tuple[int, ...] = (1, 2, 4)
    batches: tuple[int, ...] = (1, 50, 200)
    strangers: int = 100_000
    """Emails that are due in the lane of another sender, where there are any."""
    history: tuple[int, ...] = (10_000, 1_000_000, 10_000_000)
    """Rows of old mail: others are compared with the first size, and the last is partitioned too."""
    looks: int = 30
    """Times that each query is asked in a turn."""
    timed: int = 1000
    """Emails with a time of their own."""
    per_second: int = 20
    """How many of those come due in a second, when they are spread out."""
    remembered: tuple[int, ...] = (1000, 100_000)
    """Emails accepted and sent before memory is looked at; with Postgres, and by others, only the first number."""
    settling: float = 3.0
    """Seconds until a server that was started, or has sent its last, does nothing more."""
    lead: float = 5.0
    """Seconds for a worker to start before anything is due."""
    installs: bool = True
    """Whether rivals that must be installed into environments of their own take part."""


SMOKE = Scale(
    servers_on=(SQLITE,),
    rounds=1,
    warm_ups=0,
    starts=1,
    calls=20,
    calls_at_once=50,
    sends_too=False,
    emails=60,
    large_emails=2,
    connections=(4,),
    workers=(1,),
    batches=(1, 50),
    strangers=500,
    history=(500, 2000),
    looks=2,
    timed=20,
    remembered=(50,),
    settling=0.2,
    lead=2.0,
    installs=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """See the module; everything is gone when `ground` ends."""

    scale: Scale
    folder: Path
    sink: Sink
    postgres: PostgresServer
    kept: ExitStack
    """What stays until the end, for parts to come."""
    _histories: dict[int, str] = field(default_factory=dict)

    def new_folder(self) -> Path:
        """Return an empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextmanager
    def database(self, kind: str) -> Iterator[str]:
        """Yield the URL of an empty database, `SQLITE` or `POSTGRES`."""
        if kind == POSTGRES:
            with fresh_database(self.postgres.url()) as url:
                yield url
        else:
            yield f"sqlite:///{self.new_folder() / 'outspool.db'}"

    @contextmanager
    def databases(self) -> Iterator[dict[str, str]]:
        """Yield the URLs of empty databases for programs that are measured from outside, by their kind."""
        with ExitStack() as stack:
            yield {kind: stack.enter_context(self.database(kind)) for kind in self.scale.servers_on}

    async def history(self, rows: int) -> str:
        """Return the URL of a Postgres database with so much old mail: filled for the first who asks, and kept."""
        if rows not in self._histories:
            url = self.kept.enter_context(self.database(POSTGRES))
            async with self.outspool(url) as outspool:
                await write_history(outspool, rows, until=datetime.now(UTC))
            self._histories[rows] = url
        return self._histories[rows]

    def variables(self, database_url: str, **more: object) -> dict[str, str]:
        """Return the environment of an outspool that delivers to the sink, with no limits in its way."""
        ours = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return {
            **ours,
            "DATABASE_URL": database_url,
            "OUTSPOOL_DATA_DIR": str(self.folder / "data"),
            "SMTP_HOST": self.sink.host,
            "SMTP_PORT": str(self.sink.port),
            "SMTP_SECURITY": "none",
            "EMAIL_FROM": "me@example.com",
            "EMAIL_RATE_LIMIT_PER_HOUR": "10000000",
            **{name: str(value) for name, value in more.items()},
        }

    @asynccontextmanager
    async def outspool(self, database_url: str, **more: object) -> AsyncIterator[Outspool]:
        """Yield an outspool in this process, which is set up as one that serves, without a worker."""
        outspool = Outspool(Settings.load(self.variables(database_url, **more)))
        async with outspool.run(worker=False):
            freeze_loaded_objects()
            yield outspool


@asynccontextmanager
async def ground(scale: Scale) -> AsyncIterator[Ground]:
    """Make one, and clear it away."""
    with (
        tempfile.TemporaryDirectory(prefix="outspool-bench-") as folder,
        PostgresServer(fsync=True, shared_buffers="128MB", max_wal_size="1GB") as postgres,
    ):
        async with running_sink() as sink:
            with ExitStack() as kept:
                yield Ground(scale=scale, folder=Path(folder), sink=sink, postgres=postgres, kept=kept)
