"""A refused login is tried again rarely, whoever starts how often, and at once when it was mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from support.smtp_sink import SmtpSink

from outspool.app.runtime import Outspool
from outspool.domain.status import EmailStatus
from outspool.services.intake import Draft

S = EmailStatus
OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SmtpSink]:
    """Return a server that wants a login, in place of the one that wants none."""
    spool = tmp_path / "smtp"
    spool.mkdir()
    with SmtpSink(spool, username="ada", password="right") as server:
        yield server


async def test_a_refused_login_is_not_tried_by_every_start_but_a_mended_one_is(
    outspool: OpenOutspool, sink: SmtpSink
) -> None:
    for _ in range(4):
        async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="wrong") as app:
            email = await app.outbox.settle(await app.outbox.accept(Draft(to=["ann@example.com"], body="x")), within=20)
            assert email.status is S.DEFERRED
            assert email.problem is not None
            assert "wrong" not in str(email.problem)
    assert sink.connections() == 1
    async with outspool(SMTP_USERNAME="ada", SMTP_PASSWORD="right") as app:
        email = await app.outbox.settle(await app.outbox.accept(Draft(to=["ann@example.com"], body="x")), within=20)
        await sink.wait_for(5)
    assert len(sink.messages()) == 5
