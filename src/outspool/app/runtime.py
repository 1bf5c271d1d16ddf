"""One process's outspool: its parts, built from the settings, and the dispatcher that runs beside the faces."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from outspool.adapters.files.private_files import restrict_earlier_files
from outspool.adapters.files.template_folder import SHIPPED, TemplateFolder
from outspool.adapters.sandbox import SANDBOX_HOST, sandbox_server
from outspool.adapters.smtp.transport import Security, SmtpAccount, SmtpTransport
from outspool.adapters.sql.account import SqlAccount
from outspool.adapters.sql.attachments import SqlBlobHandles, SqlBlobLedger
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
from outspool.domain.retry import account_pause
from outspool.ports.clock import Clock
from outspool.ports.files import Files
from outspool.ports.transport import Transport
from outspool.services.acceptance.attachments import Attachments
from outspool.services.acceptance.outbox import Outbox
from outspool.services.delivery.blob_collector import SWEEP_SECONDS, BlobCollector
from outspool.services.delivery.breaker import Breaker
from outspool.services.delivery.delivery_agent import DeliveryAgent
from outspool.services.delivery.dispatcher import Dispatcher, Limits
from outspool.services.delivery.occurrences import Occurrences
from outspool.services.delivery.outgoing import outgoing
from outspool.services.delivery.recorder import Recorder
from outspool.services.delivery.timings import Timings
from outspool.services.templates.catalog import Templates

logger = logging.getLogger(__name__)


class Outspool:
    """Everything of one process, built and not yet started: `outbox` for the faces, `running` for the runtime."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, timings: Timings | None = None) -> None:
        """Build it; nothing is opened. `clock` is the machine's unless given, `timings` the usual.

        Raises `MisconfiguredError` when the settings contradict themselves.
        """
        self.settings = settings
        self.smtp = None if settings.sandbox else configuration.smtp_account(settings)
        self.clock = clock or SystemClock()
        self.timings = timings or Timings()
        self.database = MigratedDatabase(settings.store_url)
        self.changes = ChangeWatch(self.database)
        self.lane = configuration.lane(settings, self.smtp)
        rate = configuration.rate(settings)
        account, quota = configuration.account_name(self.smtp), configuration.daily_quota(settings, self.smtp)
        journal = StatusWriter(self.database, self.changes, meter=f"handed over {account}", quota=quota)
        self.store = SqlEmailStore(self.database, self.changes, journal, lane=self.lane, rate=rate)
        self.queue = SqlQueue(self.database, self.changes, journal, lane=self.lane)
        self.account = SqlAccount(self.database, self.changes, name=account)
        self.series = SqlSeries(self.database, self.changes, lane=self.lane, rate=rate)
        self.terms = configuration.terms(settings, self.smtp)
        self.blobs = storage.blob_store(settings)
        self.ledger = SqlBlobLedger(self.database)
        self.outbox = self._outbox(storage.files(settings))
        self.occurrences = Occurrences(
            self.store,
            self.series,
            policy=self.terms.policy,
            expire_after=self.terms.expire_after,
            new_id=new_id,
            clock=self.clock,
        )

    @property
    def account_label(self) -> str:
        """How emails are sent, for a person: no secret in it."""
        if self.smtp is None:
            return "to the sandbox" if self.settings.sandbox else "by nobody: no account is set"
        login = f" as {self.smtp.username}" if self.smtp.username else ""
        return f"through {self.smtp}{login}"

    def require_account(self) -> None:
        """Raise `NotConfigured` when there is nothing to send through."""
        if (lack := configuration.lack_of_account(self.settings, self.smtp)) is not None:
            raise lack

    async def attach(self, file: Path) -> str:
        """Store a file that the operator names, wherever it is and links lead, and return its handle.

        Raises as `Attachments.keep` does.
        """
        return await self._attachments(storage.operator_files(self.settings)).keep(str(file))

    def operators_outbox(self) -> Outbox:
        """Return the outbox for whoever types a command: their emails take any file that they name."""
        return self._outbox(storage.operator_files(self.settings))

    def _outbox(self, files: Files) -> Outbox:
        settings = self.settings
        return Outbox(
            self.store,
            self.account,
            self.changes,
            attachments=self._attachments(files),
            templates=Templates([TemplateFolder(settings.templates_dir), TemplateFolder(SHIPPED)]),
            terms=self.terms,
            new_id=new_id,
            clock=self.clock,
        )

    def _attachments(self, files: Files) -> Attachments:
        return Attachments(
            self.blobs,
            self.ledger,
            SqlBlobHandles(self.database, lane=self.lane),
            files,
            max_message_bytes=self.terms.policy.max_message_bytes,
            clock=self.clock,
        )

    async def migrate(self) -> bool:
        """Bring the database to this code's schema; True when something had to be done.

        Raises `StoreUnavailable`, and `MisconfiguredError` when the database was made by a newer outspool.
        """
        async with Database(self.settings.store_url).opened() as database:
            return await migrate(database)

    @asynccontextmanager
    async def running(self, *, worker: bool) -> AsyncIterator[None]:
        """Keep the database open and, if `worker` and an account is set, dispatch, until the block ends.

        An unreachable database does not stop it from starting: what needs it fails, or waits, until it is there.
        """
        await asyncio.to_thread(
            restrict_earlier_files, blobs=self.settings.blobs_dir, sandbox=self.settings.sandbox_dir
        )
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            stack.push_async_callback(self.changes.close)
            stack.push_async_callback(self.blobs.close)
            if worker and (self.smtp is not None or self.settings.sandbox):
                await stack.enter_async_context(self._dispatching(await self._transport(stack)))
            yield

    @asynccontextmanager
    async def _dispatching(self, transport: Transport) -> AsyncIterator[None]:
        dispatcher = self._dispatcher(transport, self.breaker())
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
                await dispatcher.stop()
                # It ends by itself. Canceled within a claim it would leave emails behind that nobody carries.
                await asyncio.wait({loop}, timeout=self.timings.last_claim_seconds)
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
                await dispatcher.stop()  # for what that last claim began
                await ticker.stop()
                await transport.close()

    def breaker(self) -> Breaker:
        """Return what rests the account when it is in trouble."""
        return Breaker(
            self.account,
            clock=self.clock,
            pause=partial(account_pause, random=random.random),
            credential=partial(configuration.credential, self.smtp),
            timings=self.timings,
            connections=self.settings.smtp_connections,
        )

    def _dispatcher(self, transport: Transport, breaker: Breaker) -> Dispatcher:
        settings = self.settings
        retries = configuration.retry_policy(settings)
        resend = settings.on_unknown == "resend"
        agent = DeliveryAgent(
            Recorder(self.store, timings=self.timings),
            self.queue,
            transport,
            breaker,
            outgoing=partial(outgoing, blobs=self.blobs),
            next_delay=partial(retries.next_delay, random=random.random),
            resend_doubtful=resend,
            clock=self.clock,
            timings=self.timings,
        )
        limits = Limits(batch=settings.batch_size, connections=settings.smtp_connections)
        name = f"{socket.gethostname()}:{os.getpid()}"
        return Dispatcher(
            self.queue,
            agent,
            breaker,
            self.occurrences,
            name=name,
            limits=limits,
            resend_doubtful=resend,
            clock=self.clock,
            timings=self.timings,
        )

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        account = self.smtp
        if account is None:
            port = await stack.enter_async_context(sandbox_server(self.settings.sandbox_dir))
            account = SmtpAccount(host=SANDBOX_HOST, port=port, security=Security.NONE, username=None, password=None)
        return SmtpTransport(account, connections=self.settings.smtp_connections)
