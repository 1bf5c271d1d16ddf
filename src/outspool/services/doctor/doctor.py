"""Checks the installation, one finding a line, each with a fix.

It changes one thing only: a successful login ends the account's pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime

from outspool.domain.schedule import describe_wait
from outspool.domain.setting import Setting
from outspool.domain.times import format_utc
from outspool.errors import AccountTrouble, BlobsUnavailable, StoreMisconfigured, StoreUnavailable, TroubleKind
from outspool.ports.account import Account, AccountState
from outspool.ports.clock import Clock
from outspool.ports.database import DatabaseHealth, DatabaseProbe, DiskState, SchemaState
from outspool.ports.files import BlobStore
from outspool.ports.queue import Queue
from outspool.services.delivery.breaker import Breaker
from outspool.services.delivery.timings import Timings
from outspool.services.doctor.configuration_checks import Setup, check_configuration
from outspool.services.doctor.findings import Finding, Level, fail, ok, warn
from outspool.services.doctor.queue_checks import (
    check_access,
    check_database,
    check_disk,
    check_dispatching,
    check_queue,
    check_readable,
    check_worker_clocks,
)


class Doctor:
    """Runs every check on one installation."""

    def __init__(
        self,
        setup: Setup,
        *,
        disk: Callable[[], DiskState],
        open_folders: Callable[[], Sequence[str]],
        blobs: BlobStore | None,
        probe: DatabaseProbe,
        queue: Queue,
        account: Account,
        breaker: Breaker,
        log_in: Callable[[], Awaitable[None]] | None,
        look_at_templates: Callable[[], Awaitable[Finding]],
        clock: Clock,
        machine_clock: Clock,
        timings: Timings,
    ) -> None:
        """`log_in` tests the SMTP account and raises `AccountTrouble`; None skips the test, as for `blobs`."""
        self._setup = setup
        self._disk = disk
        self._open_folders = open_folders
        self._blobs = blobs
        self._probe = probe
        self._queue = queue
        self._account = account
        self._breaker = breaker
        self._log_in = log_in
        self._look_at_templates = look_at_templates
        self._clock = clock
        self._machine_clock = machine_clock
        self._timings = timings

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield each finding as soon as it is made. Errors of database and mail server become findings."""
        for finding in check_configuration(self._setup):
            yield finding
        yield await self._look_at_templates()
        yield check_disk(await asyncio.to_thread(self._disk))
        yield check_access(await asyncio.to_thread(self._open_folders))
        if self._blobs is not None:
            yield await _check_attachments(self._blobs)
        health, findings = await self._check_database()
        for finding in findings:
            yield finding
        login = await self._check_login()
        if login is not None:
            yield login
        if health is None or health.schema is not SchemaState.CURRENT:
            return  # the database is unavailable or empty
        try:
            async for finding in self._examine_outbox(logged_in=login is not None and login.level is Level.OK):
                yield finding
        except StoreUnavailable as error:
            yield _unreachable(self._probe.address, error)

    async def _check_database(self) -> tuple[DatabaseHealth | None, list[Finding]]:
        """Return the database's health, None if it is unavailable, and the findings about it."""
        try:
            health = await self._probe.health()
        except StoreUnavailable as error:
            return None, [_unreachable(self._probe.address, error)]
        database_findings = check_database(self._probe.address, health, now=self._machine_clock.now())
        return health, [*database_findings, *await self._check_damage()]

    async def _check_damage(self) -> list[Finding]:
        try:
            damage = await self._probe.damage()
        except StoreUnavailable as error:
            return [fail("integrity", error.message, error.hint)]
        return [] if not damage else [fail("integrity", f"The database file is damaged: {damage}.", _DAMAGED)]

    async def _check_login(self) -> Finding | None:
        if self._log_in is None:
            return None
        try:
            await self._log_in()
        except AccountTrouble as trouble:
            return fail("smtp login", trouble.message, trouble.hint)
        return ok("smtp login", "The server answers and takes the login.")

    async def _examine_outbox(self, *, logged_in: bool) -> AsyncIterator[Finding]:
        state = await self._account.state()
        now = self._clock.now()
        if state.is_paused(now):
            yield await self._check_pause(state, now, logged_in=logged_in)
        backlog = await self._probe.backlog(now=now)
        workers = await self._queue.workers(since=now - self._timings.lease)
        yield check_dispatching(workers, backlog, now=now)
        for finding in check_worker_clocks(workers):
            yield finding
        for finding in check_queue(backlog, now=now):
            yield finding
        for finding in check_readable(await self._probe.unreadable()):
            yield finding

    async def _check_pause(self, state: AccountState, now: datetime, *, logged_in: bool) -> Finding:
        """Report the pause. A successful login ends it, unless the server throttled us."""
        until = state.paused_until or now
        why = f"until {format_utc(until.replace(microsecond=0))}, {describe_wait(now, until)}: {state.message}"
        if not logged_in or state.kind == TroubleKind.THROTTLED:
            fix = state.hint or "Sending resumes by itself."
            return warn("pause", f"Sending rests {why}", fix)
        await self._breaker.end_pause()
        return ok("pause", f"Sending rested {why} The login works now, so the pause was ended.")


async def _check_attachments(blobs: BlobStore) -> Finding:
    try:
        await blobs.check()
    except BlobsUnavailable as error:
        return fail("attachments", error.message, error.hint)
    return ok("attachments", f"They are kept in {blobs}.")


_DAMAGED = "Stop every outspool and run `outspool restore` with the last backup."


def _unreachable(address: str, error: StoreUnavailable) -> Finding:
    if isinstance(error, StoreMisconfigured):
        return fail("database", f"{address}: {error.message}", error.hint)
    return fail(
        "database",
        f"{address}: {error.message}",
        f"Check {Setting.DATABASE}, that the database runs, and that it can be reached from here.",
    )
