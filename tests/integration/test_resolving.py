"""An operator settles a doubtful email, once and for good."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from support.outbox_samples import EVERYTHING, NOW, Outlet, a_lease, an_email, as_sent, outlet

from outspool.app.runtime import Outspool
from outspool.domain.email import Problem
from outspool.domain.principal import Actor, Role
from outspool.domain.status import EmailStatus, RecipientStatus
from outspool.domain.transition import Transition
from outspool.errors import WrongState
from outspool.services.acceptance.revision import plan_resolution
from outspool.services.acceptance.validation import EmailRequest

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]
OPERATOR = Actor(user="local", agent="command line", role=Role.OPERATOR)


@pytest.fixture
async def box(database_url: str) -> AsyncIterator[Outlet]:
    async with outlet(database_url) as opened:
        yield opened


async def test_a_reply_that_comes_late_does_not_overrule_the_operator(box: Outlet) -> None:
    email, lease = await box.accept(an_email()), a_lease()
    await box.claim(lease=lease)
    assert await box.queue.mark(email.id, lease, at=NOW, recipients=1)
    problem = Problem(code="in_doubt", message="The connection was lost.")
    doubtful = tuple(replace(r, status=RecipientStatus.UNKNOWN) for r in email.recipients)
    lost = Transition.unknown(at=NOW, recipients=doubtful, attempts=1, problem=problem)
    unknown = await box.record(email.id, lost, lease=lease.token)
    assert unknown is not None
    change = plan_resolution(unknown, EmailStatus.CANCELED, actor=OPERATOR, now=NOW)
    assert await box.store.record(email.id, change, EVERYTHING, version=unknown.version)
    assert not await box.store.record(email.id, as_sent(email), EVERYTHING, lease=lease.token)
    assert not await box.store.record(email.id, change, EVERYTHING, version=unknown.version)
    resolved = await box.store.get(email.id, EVERYTHING)
    assert resolved is not None
    assert resolved.status is EmailStatus.CANCELED
    assert (resolved.events[-1].code, resolved.events[-1].actor) == ("resolved", OPERATOR)
    assert await box.claim() == []


async def test_an_agent_cannot_say_what_became_of_an_email(outspool: OpenOutspool) -> None:
    async with outspool(worker=False) as app:
        email = await app.outbox.accept(EmailRequest(to=["ann@example.com"], body="x"))
        with pytest.raises(WrongState, match="Only the operator"):
            await app.outbox.resolve(str(email.id), EmailStatus.SENT)
