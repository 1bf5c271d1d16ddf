"""Shorthand for tests that deliver through `SmtpTransport`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outspool.adapters.smtp.transport import Security, SmtpAccount

if TYPE_CHECKING:
    from outspool.adapters.smtp.transport import SmtpTransport
    from outspool.domain.delivery import Delivery, Verdict
    from support.smtp_sink import SmtpSink

MESSAGE = b"Subject: hello\r\nMessage-ID: <one@example.com>\r\n\r\nHello.\r\n"


def account(sink: SmtpSink, *, port: int = 0) -> SmtpAccount:
    """Return the account of a sink without encryption, perhaps by way of a proxy's port."""
    return SmtpAccount(host=sink.host, port=port or sink.port, security=Security.NONE)


async def nothing() -> None:
    """Do nothing before DATA."""


async def deliver(
    transport: SmtpTransport, *recipients: str, message: bytes = MESSAGE, sender: str = "me@example.com"
) -> Delivery:
    """Deliver a small message."""
    return await transport.deliver(message, sender=sender, recipients=recipients, before_data=nothing)


def verdicts(delivery: Delivery) -> dict[str, Verdict]:
    """Return the verdicts alone, by address."""
    return {address: outcome.verdict for address, outcome in delivery.outcomes.items()}
