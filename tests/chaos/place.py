"""The place of trials, one after another: a Postgres server, empty databases, a certificate."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import asyncpg
import trustme
from support.postgres import PostgresServer
from support.zygote import Zygote

from outspool.adapters.sql.database import Database
from outspool.adapters.sql.schema import migrate

_TEMPLATE = "migrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One of the places where trials go on at the same time; `postgres` may be stopped and crashed at will.

    Without one, only trials on SQLite can take place.
    """

    zygote: Zygote
    folder: Path
    postgres: PostgresServer | None
    numbers: count[int]

    @asynccontextmanager
    async def trial_folder(self) -> AsyncIterator[Path]:
        """Yield an empty folder, and remove it."""
        folder = self.folder / f"trial-{next(self.numbers)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @asynccontextmanager
    async def database(self, kind: str, folder: Path, *, is_migrated: bool) -> AsyncIterator[str]:
        """Yield the URL of a database in which nothing is but, perhaps, the tables."""
        if kind == "sqlite":
            path = folder / "outspool.db"
            if is_migrated:
                shutil.copy(self.folder / f"{_TEMPLATE}.db", path)
            yield f"sqlite:///{path}"
            return
        name = f"trial_{next(self.numbers)}"
        template = _TEMPLATE if is_migrated else "template0"
        await self._administer(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self._server.url(name)
        finally:
            await self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    @property
    def _server(self) -> PostgresServer:
        assert self.postgres is not None, "a place without Postgres"
        return self.postgres

    async def _administer(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.url())
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def prepare(self) -> None:
        """Make what every trial's database is a copy of."""
        path = self.folder / f"{_TEMPLATE}.db"
        urls = [f"sqlite:///{path}"]
        if self.postgres is not None:
            await self._administer(f"CREATE DATABASE {_TEMPLATE}")
            urls.append(self.postgres.url(_TEMPLATE))
        for url in urls:
            async with Database(url).open_until_exit() as database:
                await migrate(database)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a copy takes the file alone
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(self.certificate))

    @property
    def authority(self) -> Path:
        """The certificate that whoever delivers must trust."""
        return self.folder / "authority.pem"

    @property
    def certificate(self) -> Path:
        """Certificate and key of the SMTP server."""
        return self.folder / "server.pem"


@asynccontextmanager
async def open_place(zygote: Zygote, *, with_postgres: bool) -> AsyncIterator[Place]:
    """Start what a place needs, and leave nothing behind."""
    async with AsyncExitStack() as stack:
        postgres = None
        if with_postgres:
            postgres = await asyncio.to_thread(PostgresServer)
            stack.push_async_callback(asyncio.to_thread, postgres.close)
            await asyncio.to_thread(postgres.start)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="outspool-chaos-", dir=_in_memory()))
        place = Place(zygote=zygote, folder=Path(folder), postgres=postgres, numbers=count())
        await place.prepare()
        yield place


def _in_memory() -> str | None:
    """Return a folder that no disk is behind, if there is one: what is killed here is processes, not the power."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
