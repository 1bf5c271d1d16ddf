"""The parts of an outspool on a real SMTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from support.smtp_delivery import account
from support.smtp_sink import SmtpSink

from outspool.adapters.smtp.transport import SmtpTransport


@pytest.fixture
async def transport(sink: SmtpSink) -> AsyncIterator[SmtpTransport]:
    """Return a transport to `sink`."""
    transport = SmtpTransport(account(sink))
    yield transport
    await transport.close()
