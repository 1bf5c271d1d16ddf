"""One process's outspool: its parts, built from the settings, and its dispatcher."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path

from outspool.adapters.files.private_files import restrict_earlier_files
from outspool.adapters.files.template_folder import SHIPPED, TemplateFolder
from outspool.adapters.sandbox import SANDBOX_HOST, sandbox_server
from outspool.adapters.smtp.transport import Security, SmtpAccount, SmtpTransport
from outspool.adapters.sql.account import SqlAccount
from outspool.adapters.sql.attachments import SqlBlobHandles, SqlBlobLedger
from outspool.adapters.sql.calls import SqlAbandonedCalls
from outspool.adapters.sql.clock import DatabaseClock
from outspool.adapters.sql.database import Database
from outspool.adapters.sql.queue import SqlQueue
from outspool.adapters.sql.schema import MigratedDatabase, migrate
from outspool.adapters.sql.series import SqlSeries
from outspool.adapters.sql.status_writer import StatusWriter
from outspool.adapters.sql.store import SqlEmailStore
from outspool.adapters.sql.watch import ChangeWatch
from outspool.adapters.system_clock import SystemClock
from outspool.adapters.ticker import Ticker
from outspool.adapters.uuid7 import new_id
from outspool.app import configuration, storage
from outspool.app.settings import Settings
from outspool.domain.outlook import Senders
from outspool.domain.principal import Principal, Role
from outspool.domain.retry import compute_account_pause
from outspool.errors import NotConfigured, StoreMisconfigured
from outspool.ports.clock import Clock
from outspool.ports.files import Files
from outspool.ports.transport import Transport
from outspool.services.acceptance.attachments import Attachments
from outspool.services.acceptance.outbox import Outbox
from outspool.services.acceptance.repeats import RepeatGuard
from outspool.services.acceptance.waiting import OutlookReader
from outspool.services.delivery.blob_collector import SWEEP_SECONDS, BlobCollector
from outspool.services.delivery.breaker import Breaker
from outspool.services.delivery.clock_watch import ClockWatch
from outspool.services.delivery.delivery_agent import DeliveryAgent
from outspool.services.delivery.dispatcher import Dispatcher
from outspool.services.delivery.occurrences import Occurrences
from outspool.services.delivery.recording import Recorder
from outspool.services.delivery.timings import Timings
from outspool.services.message_stream import open_message
from outspool.services.templates.catalog import Templates

_CLOCK_SECONDS = 2.0
"""How long a start waits for the database's time."""

logger = logging.getLogger(__name__)


class Outspool:
    """Everything of one process, not yet started: `outbox_for` serves the faces, `run` runs it."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        machine_clock: Clock | None = None,
        timings: Timings | None = None,
    ) -> None:
        """Build all parts; open nothing.

        Without `clock` the time is the database's if it has a clock (Postgres), else that of `machine_clock`, by
        default the operating system's. Raises `MisconfiguredError` if the settings contradict each other.
        """
        self.settings = settings
        self.smtp = None if settings.sandbox else configuration.read_smtp_account(settings)
        self.machine_clock = machine_clock or clock or SystemClock()
        self.timings = timings or Timings()
        is_shared = clock is None and settings.store_url.startswith(("postgresql://", "postgres://"))
        database_clock = DatabaseClock(self.machine_clock) if is_shared else None
        self.clock: Clock = clock or database_clock or self.machine_clock
        self.database = MigratedDatabase(settings.store_url, clock=database_clock)
        self.changes = ChangeWatch(self.database)
        self.identity = configuration.read_identity(settings, self.smtp)
        rate, quota = configuration.read_rate(settings), configuration.read_daily_quota(settings, self.smtp)
        account = self.identity.account
        status_writer = StatusWriter(self.database, self.changes, meter=f"handed over {account}", quota=quota)
        self.store = SqlEmailStore(self.database, self.changes, status_writer, rate=rate)
        self.queue = SqlQueue(
            self.database, self.changes, status_writer, identity=self.identity.address, clock=database_clock
        )
        self.account = SqlAccount(
            self.database, self.changes, name=configuration.name_account(self.identity, self.smtp)
        )
        self.breaker = Breaker(
            self.account,
            clock=self.clock,
            pause=partial(compute_account_pause, random=random.random),
            credential=partial(configuration.hash_credential, self.smtp),
            timings=self.timings,
            connections=settings.smtp_connections,
        )
        self.series = SqlSeries(self.database, self.changes, rate=rate)
        self.rules = configuration.read_acceptance_rules(settings, self.smtp)
        self.blobs = storage.build_blob_store(settings)
        self.ledger = SqlBlobLedger(self.database)
        self.worker_name = f"{socket.gethostname()}:{os.getpid()}"
        self.outlooks = OutlookReader(
            self.account,
            self.queue,
            identity=self.identity.address,
            worker=self.worker_name,
            lease=self.timings.lease,
            zone=_local_zone,
            clock=self.clock,
        )
        self.repeats = RepeatGuard(SqlAbandonedCalls(self.database), clock=self.clock)
        self.outbox = self._outbox(storage.build_rooted_files(settings), self.principal())
        self.occurrences = Occurrences(
            self.store,
            self.series,
            identity=self.identity.address,
            policy=self.rules.policy,
            expire_after=self.rules.expire_after,
            new_id=new_id,
            clock=self.clock,
        )

    @property
    def account_label(self) -> str:
        """The account in words, without secrets."""
        if self.smtp is None:
            return "to the sandbox" if self.settings.sandbox else "by nobody: no account is set"
        login = f" as {self.smtp.username}" if self.smtp.username else ""
        return f"through {self.smtp}{login}"

    def require_account(self) -> None:
        """Raise `NotConfigured` if there is no account."""
        if (obstacle := self.rules.obstacle) is not None:
            raise NotConfigured(obstacle.message, obstacle.hint)

    def principal(self, *, role: Role = Role.AGENT, agent: str = "", client: str = "") -> Principal:
        """Return the principal of this process's calls; see `outspool.app.configuration.build_principal`."""
        return configuration.build_principal(self.settings, self.identity, role=role, agent=agent, client=client)

    async def attach(self, file: Path) -> str:
        """Store any file that the operator names, and return its handle.

        Raises as `Attachments.keep` does.
        """
        return await self._attachments(storage.build_operator_files(self.settings)).keep(
            str(file), owner=self.principal().user
        )

    def outbox_for(self, name: str, version: str) -> Outbox:
        """Return the outbox for an MCP client of this name and version."""
        return self.outbox.acting_for(self.principal(agent=name, client=f"{name} {version}".strip()))

    def operators_outbox(self) -> Outbox:
        """Return the command line's outbox: it sees all mail, and attaches any file."""
        return self._outbox(
            storage.build_operator_files(self.settings), self.principal(role=Role.OPERATOR, agent="command line")
        )

    def _outbox(self, files: Files, principal: Principal) -> Outbox:
        settings = self.settings
        return Outbox(
            self.store,
            self.account,
            self.changes,
            attachments=self._attachments(files),
            templates=Templates([TemplateFolder(settings.templates_dir), TemplateFolder(SHIPPED)]),
            rules=self.rules,
            repeats=self.repeats,
            outlooks=self.outlooks,
            principal=principal,
            new_id=new_id,
            clock=self.clock,
        )

    def _attachments(self, files: Files) -> Attachments:
        return Attachments(
            self.blobs,
            self.ledger,
            SqlBlobHandles(self.database, identity=self.identity.address),
            files,
            max_message_bytes=self.rules.policy.max_message_bytes,
            clock=self.clock,
        )

    async def migrate(self) -> bool:
        """Migrate the database's schema; True if anything was changed.

        Raises `StoreUnavailable`, and `MisconfiguredError` if the database was made by a newer outspool.
        """
        async with Database(self.settings.store_url).open_until_exit() as database:
            return await migrate(database)

    @asynccontextmanager
    async def run(
        self, *, worker: bool, senders: Senders = Senders.LASTING, allow_misconfigured: bool = False
    ) -> AsyncIterator[None]:
        """Keep the database open within the block and, with `worker` and an account, dispatch.

        `senders` is what this process is, with a worker, to callers who have their answer: a command that ends then is
        ``NONE``.

        An unavailable database does not prevent the start: calls fail or wait until it is back. Raises
        `StoreMisconfigured` for a database that outspool can never work with, unless `allow_misconfigured`.
        """
        await asyncio.to_thread(
            restrict_earlier_files, blobs=self.settings.blobs_dir, sandbox=self.settings.sandbox_dir
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            stack.push_async_callback(self.changes.close)
            stack.push_async_callback(self.blobs.close)
            stack.push_async_callback(self.repeats.close)
            try:
                await self.database.learn_time(timeout_seconds=_CLOCK_SECONDS)
            except StoreMisconfigured:
                if not allow_misconfigured:
                    raise
            if worker and (self.smtp is not None or self.settings.sandbox):
                self.outlooks.own = senders
                is_temporary = senders is not Senders.LASTING
                transport = await self._transport(stack)
                dispatcher = self._dispatcher(transport, is_temporary=is_temporary)
                await stack.enter_async_context(self._run_dispatcher(dispatcher, transport))
            yield

    @asynccontextmanager
    async def _run_dispatcher(self, dispatcher: Dispatcher, transport: Transport) -> AsyncIterator[None]:
        ticker = Ticker(dispatcher.wake, clock=self.clock)
        ticker.every(self.timings.beat_seconds, dispatcher.keeper.pulse)
        ticker.every(self.timings.poll_seconds, dispatcher.poll)
        ticker.every(SWEEP_SECONDS, BlobCollector(self.blobs, self.ledger, clock=self.clock).sweep)
        async with self.changes.watch(dispatcher.wake, due_only=True):
            ticker.start()
            loop = asyncio.create_task(dispatcher.run(ticker), name="dispatcher")
            try:
                yield
            finally:
                transport.abandon_silent()
                await dispatcher.stop()
                # It ends by itself. If canceled during a claim, it would leave claimed emails that nobody delivers.
                await asyncio.wait({loop}, timeout=self.timings.last_claim_seconds)
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
                await dispatcher.stop()  # again, for deliveries that the last claim started
                await ticker.stop()

    def _dispatcher(self, transport: Transport, *, is_temporary: bool) -> Dispatcher:
        settings = self.settings
        retries = configuration.read_retry_policy(settings)
        resend = settings.on_unknown == "resend"
        watch = ClockWatch(self.clock)
        agent = DeliveryAgent(
            Recorder(self.store, timings=self.timings),
            self.queue,
            transport,
            self.breaker,
            open_message=partial(open_message, blobs=self.blobs),
            next_delay=partial(retries.next_delay, random=random.random),
            resend_doubtful=resend,
            policy=self.rules.policy,
            watch=watch,
            clock=self.clock,
            timings=self.timings,
        )
        return Dispatcher(
            self.queue,
            agent,
            self.breaker,
            self.occurrences,
            name=self.worker_name,
            is_temporary=is_temporary,
            batch=settings.batch_size,
            resend_doubtful=resend,
            watch=watch,
            clock=self.clock,
            timings=self.timings,
        )

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        account = self.smtp
        if account is None:
            port = await stack.enter_async_context(sandbox_server(self.settings.sandbox_dir))
            account = SmtpAccount(host=SANDBOX_HOST, port=port, security=Security.NONE, username=None, password=None)
        transport = SmtpTransport(account, report=self.breaker.report_silence)
        stack.push_async_callback(transport.close)
        return transport


def _local_zone(now: datetime) -> tzinfo:
    """Return this machine's zone."""
    return now.astimezone().tzinfo or UTC
