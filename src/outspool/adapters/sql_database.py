"""One database, SQLite or Postgres: its transactions, and its failures in plain words."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from outspool.adapters.sql_engine import (
    BEGIN,
    STATEMENT_SECONDS,
    check_address,
    postgres_engine,
    sqlite_engine,
)
from outspool.errors import StoreUnavailable

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound="OnDatabase")


class OnDatabase(Protocol):
    """Whatever keeps its rows in a database."""

    @property
    def database(self) -> Database:
        """The database."""
        ...


def uninterrupted(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Let a method of a store, which is one transaction, end even when its caller is canceled."""

    @functools.wraps(method)
    async def wrapper(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await store.database.whole(method(store, *args, **kwargs))

    return wrapper


class Database:
    """Transactions on one database. Every failure of it comes out as `StoreUnavailable`."""

    def __init__(self, url: str, *, statement_seconds: float = STATEMENT_SECONDS) -> None:
        """Take ``postgresql://…`` or ``sqlite:///path``. Nothing is opened yet."""
        check_address(url)
        self.url = url
        self.is_postgres = url.startswith(("postgresql://", "postgres://"))
        self.engine = postgres_engine(url, statement_seconds) if self.is_postgres else sqlite_engine(self.sqlite_path)
        # SQLite has one writer; queueing here is fair and quick, its busy handler sleeps.
        self._writer = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))

    def make_file(self) -> None:
        """Make the SQLite file and its folder, for nobody else's eyes: other people's mail lies in it."""
        if self.is_postgres:
            return
        try:
            self.sqlite_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.sqlite_path.touch(mode=0o600, exist_ok=True)
        except OSError as error:
            raise _unavailable(error) from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction that sees one snapshot at most per statement."""
        try:
            async with self.engine.connect() as connection, _abandoned_if_silent(connection):
                yield connection
        except _BUGS:
            raise
        except _FAILURES as error:
            raise _unavailable(error) from error

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a write transaction; commit at the end, roll back if the block raises.

        A failed commit raises `StoreUnavailable` with `in_doubt` true: the change may have been made.
        """
        committing = False
        try:
            async with self._turn(), self.engine.connect() as connection:
                await connection.execution_options(**{BEGIN: "BEGIN IMMEDIATE"})
                async with connection.begin() as transaction, _abandoned_if_silent(connection):
                    yield connection
                    committing = True
                    await transaction.commit()
        except _BUGS:
            raise
        except _FAILURES as error:
            raise _unavailable(error, in_doubt=committing) from error

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self.is_postgres:
            yield
            return
        async with self._writer:
            yield

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """Yield this database and close it at the end."""
        try:
            yield self
        finally:
            await self.close()

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, also when the caller is canceled meanwhile.

        A statement that is canceled halfway leaves its connection, and the locks on it, to the garbage collector.
        """
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits has it too; whoever was canceled does not care

    async def close(self) -> None:
        """Let what is under way end, then close every connection."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STATEMENT_SECONDS)
        await self.engine.dispose()


@asynccontextmanager
async def _abandoned_if_silent(connection: AsyncConnection) -> AsyncIterator[None]:
    """Never use a connection again whose statement timed out: its server may still be at work, with our locks."""
    try:
        yield
    except TimeoutError:
        await connection.invalidate()
        raise


_BUGS = (IntegrityError, DataError)
"""What a statement of ours does wrong; no trouble of the database, so it must be seen."""

_FAILURES = (DBAPIError, PoolTimeout, OSError)
"""What a database in trouble raises; OSError covers every time-out and failure to connect."""


def _unavailable(error: Exception, *, in_doubt: bool = False) -> StoreUnavailable:
    """Say in a sentence what ails the database, and what to do; never the statement or its parameters."""
    return StoreUnavailable(_ailment(error), _IN_DOUBT if in_doubt else _RETRY, in_doubt=in_doubt)


def _ailment(error: Exception) -> str:
    if isinstance(error, PoolTimeout | TimeoutError):
        return "The database does not answer in time."
    cause = error.orig if isinstance(error, DBAPIError) else error
    text = str(cause).splitlines()[0][:200] if str(cause) else type(cause).__name__
    text = text.partition(">: ")[2] or text  # SQLAlchemy's asyncpg dialect prefixes the class
    if "disk is full" in text or "No space left" in text:
        return "The disk that holds the outbox is full: free some space."
    return f"The database cannot be used: {text}."


_RETRY = "Nothing was changed. Try again in a moment; if it stays so, run `outspool doctor`."
_IN_DOUBT = (
    "What was asked may have been done, or not: look with list_emails or get_status before you ask again, "
    "or repeat the call with the same idempotency_key."
)
