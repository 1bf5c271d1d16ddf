"""A server that keeps a connection waiting is named before the caller's wait is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

from support.smtp_sink import SmtpSink

from outspool.app.runtime import Outspool
from outspool.domain.status import EmailStatus
from outspool.domain.summary import summarize
from outspool.ports.account import LONGEST_SILENCE, AccountState
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.delivery.timings import Timings

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
ANN = EmailRequest(to=["ann@example.com"], body="x")


@asynccontextmanager
async def deaf_port() -> AsyncIterator[int]:
    """Yield a port that takes connections and every byte, and says nothing."""
    silent = asyncio.Event()

    async def swallow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.transport.abort()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        silent.set()
        server.close()


async def told(app: Outspool, email_id: object) -> str:
    """Return what a caller is told of the email now."""
    email = await app.outbox.get(str(email_id))
    return summarize(email, now=app.outbox.now(), outlook=await app.outbox.outlook(email))


async def test_a_port_that_swallows_everything_is_named_while_the_caller_waits(outspool: OpenOutspool) -> None:
    async with deaf_port() as port, outspool(SMTP_PORT=port, SMTP_HOST="127.0.0.1") as app:
        email = await app.outbox.accept(ANN)
        async with asyncio.timeout(20):
            while "has not answered" not in await told(app, email.id):
                await app.outbox.wait_for_outcome(email, max_wait=0.2)
        sentence = await told(app, email.id)
        assert sentence == (
            f"Not sent yet. 127.0.0.1:{port} has not answered for 2 s; check that name and port. "
            "It goes out by itself when the server answers."
        )
        assert (await app.outbox.get(str(email.id))).status is S.SENDING
        assert not (await app.account.state()).failures, "nothing was paused for it"


async def test_another_process_knows_of_it_too(outspool: OpenOutspool) -> None:
    async with deaf_port() as port, outspool(SMTP_PORT=port) as app, outspool(SMTP_PORT=port, worker=False) as other:
        email = await other.outbox.accept(ANN)
        async with asyncio.timeout(20):
            while "has not answered" not in await told(other, email.id):
                await asyncio.sleep(0.1)
        assert not app.breaker.state.failures


async def test_a_slow_server_is_forgiven_when_it_answers(outspool: OpenOutspool, sink: SmtpSink) -> None:
    sink.fail(greeting="wait 3")
    async with outspool() as app:
        email = await app.outbox.accept(ANN)
        async with asyncio.timeout(20):
            while "has not answered" not in await told(app, email.id):
                await asyncio.sleep(0.1)
        email = await app.outbox.wait_for_outcome(email, max_wait=30)
        assert email.status is S.SENT
        assert await app.account.state() == AccountState()


async def test_a_remark_of_a_process_that_died_is_forgotten(outspool: OpenOutspool) -> None:
    async with outspool(worker=False) as app:
        long_ago = app.clock.now() - LONGEST_SILENCE - timedelta(seconds=1)
        assert await app.account.swap(AccountState(), AccountState(paused_until=long_ago, message="It is silent."))
        email = await app.outbox.accept(ANN)
        assert "silent" not in await told(app, email.id)
        assert (await app.outbox.outlook(email)).pause is None


async def test_a_stop_does_not_wait_for_a_server_that_does_not_answer(outspool: OpenOutspool) -> None:
    async with deaf_port() as port:
        async with outspool(SMTP_PORT=port) as app:
            email = await app.outbox.accept(ANN)
            async with asyncio.timeout(20):
                while "has not answered" not in await told(app, email.id):
                    await asyncio.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < Timings().grace_seconds / 2
        async with outspool(worker=False) as app:
            email = await app.outbox.get(str(email.id))
    assert (email.status, email.attempts) == (S.QUEUED, 0)
