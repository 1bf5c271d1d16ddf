"""Composition root: `Settings` → a running outspool. The only module that names adapters."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from dotenv import dotenv_values

from outspool.adapters.disk_check import disk_state
from outspool.adapters.sandbox import SANDBOX_HOST, sandbox_server
from outspool.adapters.smtp import Security, SmtpAccount, SmtpTransport, Timeouts
from outspool.adapters.sql_account import SqlAccount
from outspool.adapters.sql_checks import SqlProbe
from outspool.adapters.sql_database import Database
from outspool.adapters.sql_queue import SqlQueue
from outspool.adapters.sql_schema import MigratedDatabase, migrate
from outspool.adapters.sql_store import SqlEmailStore
from outspool.adapters.sql_watch import ChangeWatch
from outspool.adapters.system_clock import SystemClock
from outspool.adapters.ticker import Ticker
from outspool.adapters.uuid7 import new_id
from outspool.domain.email import Mailbox
from outspool.domain.mailbox_parser import parse_mailbox
from outspool.domain.policy import Policy
from outspool.domain.retry import RetryPolicy, account_pause
from outspool.errors import InvalidAddress, MisconfiguredError, NotConfigured, StoreUnavailable
from outspool.ports import Clock, Transport
from outspool.services.breaker import Breaker
from outspool.services.composer import composed
from outspool.services.configuration_checks import Setup
from outspool.services.delivery_agent import DeliveryAgent
from outspool.services.dispatcher import BEAT_SECONDS, Dispatcher, Limits
from outspool.services.doctor import Doctor
from outspool.services.outbox import Acceptance, Outbox
from outspool.settings import GMAIL_HOST, Settings, unknown_names

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""How long a notice that went missing can delay an email."""

GRACE_SECONDS = 10.0
"""How long a stop waits for what is on the wire."""

LAST_CLAIM_SECONDS = 2.0
"""How long a stop waits for a claim under way; a database that answers needs a fraction of it."""

_IMPATIENT = Timeouts(connect=10, command=20)
"""For a person who watches `doctor`."""

_TLS_PORT = 465
"""Where TLS begins with the first byte (RFC 8314 §3.3), so that it need not be said twice."""

_SANDBOX_SENDER = Mailbox(address="sandbox@outspool.test", name="outspool sandbox")
_SANDBOX_DELAYS = (timedelta(seconds=2), timedelta(seconds=5), timedelta(seconds=10))
"""Short, so that one can watch a retry."""


class Outspool:
    """Everything of one process, built and not yet started: `outbox` for the faces, `running` for the runtime."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        """Build it; nothing is opened. `clock` is the machine's unless given.

        Raises `MisconfiguredError` when the settings contradict themselves.
        """
        self.settings = settings
        self.smtp = None if settings.sandbox else smtp_account(settings)
        self.clock = clock or SystemClock()
        self.database = MigratedDatabase(settings.store_url)
        self.changes = ChangeWatch(self.database)
        self.store = SqlEmailStore(self.database, self.changes)
        self.queue = SqlQueue(self.database, self.changes)
        self.account = SqlAccount(self.database, self.changes, name=_account_name(self.smtp))
        self.outbox = Outbox(
            self.store, self.account, self.changes, terms=self._terms(), new_id=new_id, clock=self.clock
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
        if (lack := self._lack()) is not None:
            raise lack

    def _lack(self) -> NotConfigured | None:
        if self.smtp is not None or self.settings.sandbox:
            return None
        return NotConfigured("No SMTP account is set, so nothing can be sent.", _not_configured(self.settings).hint)

    async def migrate(self) -> bool:
        """Bring the database to this code's schema; True when something had to be done.

        Raises `StoreUnavailable`, and `MisconfiguredError` when the database was made by a newer outspool.
        """
        async with Database(self.settings.store_url).opened() as database:
            return await migrate(database)

    def doctor(self, *, offline: bool) -> Doctor:
        """Build what examines this outspool; `offline`: without trying the SMTP account."""
        account = self.smtp
        return Doctor(
            self._setup(),
            disk=partial(disk_state, self._folder()),
            probe=SqlProbe(self.settings.store_url),
            queue=self.queue,
            account=self.account,
            breaker=self._breaker(),
            log_in=None if offline or account is None else SmtpTransport(account, timeouts=_IMPATIENT).check,
            clock=self.clock,
        )

    def _setup(self) -> Setup:
        settings = self.settings
        gmail = self.smtp.username if self.smtp and self.smtp.is_gmail else None
        return Setup(
            account=self.account_label,
            refusal=self._lack(),
            is_sandbox=settings.sandbox,
            sender=_sender(settings, self.smtp),
            gmail=gmail,
            has_two_accounts=bool(settings.smtp_host and settings.gmail_email),
            allowed=settings.allowed_recipients,
            denied=settings.denied_recipients,
            unknown_names=unknown_names(dict.fromkeys((*dotenv_values(".env"), *os.environ), "")),
            known_names=sorted(field.alias for field in Settings.model_fields.values() if field.alias),
        )

    def _folder(self) -> Path:
        """Return where files are kept: the SQLite database, or else what else there is."""
        return self.settings.data_dir if self.database.is_postgres else self.database.sqlite_path.parent

    @asynccontextmanager
    async def running(self, *, worker: bool) -> AsyncIterator[None]:
        """Keep the database open and, if `worker` and an account is set, dispatch, until the block ends.

        An unreachable database does not stop it from starting: what needs it fails, or waits, until it is there.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            stack.push_async_callback(self.changes.close)
            if worker and (self.smtp is not None or self.settings.sandbox):
                await stack.enter_async_context(self._dispatching(await self._transport(stack)))
            yield

    @asynccontextmanager
    async def _dispatching(self, transport: Transport) -> AsyncIterator[None]:
        breaker = self._breaker()
        dispatcher = self._dispatcher(transport, breaker)
        ticker = Ticker(dispatcher.wake)
        ticker.every(BEAT_SECONDS, dispatcher.beat)
        ticker.every(BEAT_SECONDS, dispatcher.rescue)
        ticker.every(POLL_SECONDS, dispatcher.poll)
        async with self.changes.watch(dispatcher.wake, due_only=True):
            ticker.start()
            loop = asyncio.create_task(_begin(dispatcher, breaker, ticker), name="dispatcher")
            try:
                yield
            finally:
                await dispatcher.stop(grace=GRACE_SECONDS)
                # It ends by itself. Canceled within a claim it would leave emails behind that nobody carries.
                await asyncio.wait({loop}, timeout=LAST_CLAIM_SECONDS)
                loop.cancel()
                await asyncio.gather(loop, return_exceptions=True)
                await dispatcher.stop(grace=GRACE_SECONDS)  # for what that last claim began
                ticker.stop()
                await transport.close()

    def _breaker(self) -> Breaker:
        return Breaker(self.account, clock=self.clock, pause=partial(account_pause, random=random.random))

    def _dispatcher(self, transport: Transport, breaker: Breaker) -> Dispatcher:
        settings = self.settings
        retries = _retry_policy(settings)
        resend = settings.on_unknown == "resend"
        agent = DeliveryAgent(
            self.store,
            self.queue,
            transport,
            breaker,
            compose=composed,
            next_delay=partial(retries.next_delay, random=random.random),
            resend_doubtful=resend,
            clock=self.clock,
        )
        limits = Limits(batch=settings.batch_size, connections=settings.smtp_connections)
        name = f"{socket.gethostname()}:{os.getpid()}"
        return Dispatcher(
            self.queue, agent, breaker, name=name, limits=limits, resend_doubtful=resend, clock=self.clock
        )

    async def _transport(self, stack: AsyncExitStack) -> Transport:
        account = self.smtp
        if account is None:
            port = await stack.enter_async_context(sandbox_server(self.settings.sandbox_dir))
            account = SmtpAccount(host=SANDBOX_HOST, port=port, security=Security.NONE, username=None, password=None)
        return SmtpTransport(account, connections=self.settings.smtp_connections)

    def _terms(self) -> Acceptance:
        settings = self.settings
        sender = _sender(settings, self.smtp)
        username = self.smtp.username if self.smtp else None
        policy = Policy(
            allowed=settings.allowed_recipients,
            denied=settings.denied_recipients,
            max_message_bytes=int(settings.max_message_mb * 1024 * 1024),
            sender=sender,
            account=username if username and "@" in username else None,
        )
        return Acceptance(
            policy=policy,
            expire_after=timedelta(hours=settings.expire_after_hours),
            refusal=None if self.smtp or settings.sandbox else _not_configured(settings),
        )


async def _begin(dispatcher: Dispatcher, breaker: Breaker, ticker: Ticker) -> None:
    """Free what died since, give a resting account one chance (its owner may just have mended it), then dispatch."""
    await dispatcher.beat()
    await dispatcher.rescue()
    try:
        await breaker.allow_probe()
    except StoreUnavailable as error:
        logger.warning("%s", error)
    await dispatcher.run(ticker)


def smtp_account(settings: Settings) -> SmtpAccount | None:
    """Return the SMTP account that the settings name, None when they name none.

    Raises `MisconfiguredError` for half a login, or one that would cross a network unencrypted.
    """
    if settings.smtp_host:
        return _other_account(settings, settings.smtp_host)
    if settings.gmail_email and settings.gmail_app_password:
        return SmtpAccount(
            host=GMAIL_HOST,
            port=587,
            security=Security.STARTTLS,
            username=settings.gmail_email,
            password=settings.gmail_app_password.get_secret_value(),
        )
    return None


def _other_account(settings: Settings, host: str) -> SmtpAccount:
    port = settings.smtp_port or (_TLS_PORT if settings.smtp_security == "tls" else 587)
    security = settings.smtp_security or ("tls" if port == _TLS_PORT else "starttls")
    password = settings.smtp_password
    try:
        return SmtpAccount(
            host=host,
            port=port,
            security=Security(security),
            username=settings.smtp_username,
            password=password.get_secret_value() if password else None,
        )
    except ValueError as error:
        raise MisconfiguredError(str(error), "Look at SMTP_HOST and its kin.") from None


def _not_configured(settings: Settings) -> NotConfigured:
    missing = "GMAIL_APP_PASSWORD" if settings.gmail_email else "GMAIL_EMAIL and GMAIL_APP_PASSWORD"
    if settings.gmail_app_password and not settings.gmail_email:
        missing = "GMAIL_EMAIL"
    return NotConfigured(
        "No SMTP account is set, so nothing can be sent; nothing was stored.",
        f"The operator sets {missing} (or SMTP_HOST and its kin) and restarts outspool; --sandbox tries it without.",
    )


def _sender(settings: Settings, account: SmtpAccount | None) -> Mailbox | None:
    """Return whom emails are from: ``EMAIL_FROM``, else the account if its name is an address."""
    username = account.username if account else None
    written = settings.email_from or (username if username and "@" in username else None)
    if written is None:
        return _SANDBOX_SENDER if settings.sandbox else None
    try:
        return parse_mailbox(written, "EMAIL_FROM")
    except InvalidAddress as error:
        raise MisconfiguredError(error.message, error.hint) from None


def _retry_policy(settings: Settings) -> RetryPolicy:
    if settings.sandbox:
        return RetryPolicy(max_retries=settings.max_retries, delays=_SANDBOX_DELAYS)
    return RetryPolicy(max_retries=settings.max_retries)


def _account_name(account: SmtpAccount | None) -> str:
    return f"{account.username or ''}@{account.host}:{account.port}" if account else "sandbox"
