"""SMTP failures: the meaning of each failure in each phase, and that nothing is sent by mistake."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from support.smtp_delivery import MESSAGE, account, deliver, nothing, verdicts
from support.smtp_sink import SmtpSink
from support.tcp_proxy import TcpProxy

from outspool.adapters.smtp.transport import Security, SmtpAccount, SmtpTransport, Timeouts
from outspool.api.errors import name_variables
from outspool.domain.delivery import Verdict
from outspool.errors import AccountTrouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHORT = Timeouts(connect=1, command=1, message=1)
"""For what never answers; all else has time, so that a busy machine fails no test."""


SHARED_SINK = {"size_limit": 100_000}


@pytest.fixture
async def impatient(sink: SmtpSink) -> AsyncIterator[SmtpTransport]:
    transport = SmtpTransport(account(sink), timeouts=SHORT)
    yield transport
    await transport.close()


@pytest.mark.parametrize(
    ("step", "fault", "verdict"),
    [
        ("mail", "452 4.3.1 Disk full", Verdict.RETRY),
        ("mail", "553 5.7.1 Not your address", Verdict.REFUSED),
        ("mail", "503 5.5.1 Bad sequence", Verdict.RETRY),
        ("mail", "354 what?", Verdict.RETRY),
        ("mail", "drop", Verdict.RETRY),
        ("mail", "stall", Verdict.RETRY),
        ("mail", "no reply code", Verdict.RETRY),
        ("rcpt", "450 4.7.1 Greylisted", Verdict.RETRY),
        ("rcpt", "452 4.5.3 Too many recipients", Verdict.RETRY),
        ("rcpt", "552 Too many recipients", Verdict.RETRY),
        ("rcpt", "550 5.1.1 No such user", Verdict.REFUSED),
        ("rcpt", "552 4.2.2 Full", Verdict.RETRY),
        ("rcpt", "354 what?", Verdict.RETRY),
        ("rcpt", "drop", Verdict.RETRY),
        ("rcpt", "stall", Verdict.RETRY),
        ("data", "451 4.3.0 Not now", Verdict.RETRY),
        ("data", "554 5.7.1 Not this", Verdict.REFUSED),
        ("data", "250 what?", Verdict.RETRY),
        ("data", "drop", Verdict.RETRY),
        ("data", "stall", Verdict.RETRY),
        ("message", "451 4.3.0 Not now", Verdict.RETRY),
        ("message", "421 Closing", Verdict.RETRY),
        ("message", "554 5.7.1 Spam", Verdict.REFUSED),
        ("message", "drop", Verdict.IN_DOUBT),
        ("message", "stall", Verdict.IN_DOUBT),
        ("message", "no reply code", Verdict.IN_DOUBT),
        ("message", "354 what?", Verdict.IN_DOUBT),
        ("message", "-12 what?", Verdict.IN_DOUBT),
        ("rcpt", "000 what?", Verdict.RETRY),
        ("taken", "drop", Verdict.IN_DOUBT),
        ("taken", "stall", Verdict.IN_DOUBT),
    ],
)
async def test_a_failure_means(
    sink: SmtpSink, transport: SmtpTransport, impatient: SmtpTransport, *, step: str, fault: str, verdict: Verdict
) -> None:
    transport = impatient if fault == "stall" else transport
    sink.fail(**{step: fault})
    delivery = await deliver(transport, "a@x.com", "b@x.com")
    assert verdicts(delivery) == {"a@x.com": verdict, "b@x.com": verdict}
    assert all(outcome.why or outcome.reply for outcome in delivery.outcomes.values())
    assert len(sink.messages()) == (1 if step == "taken" else 0)
    sink.fail()
    again = await deliver(transport, "c@x.com")
    assert verdicts(again) == {"c@x.com": Verdict.TAKEN}


@pytest.mark.parametrize(
    ("step", "fault", "kind"),
    [
        ("greeting", "421 4.7.0 Too many connections", TroubleKind.THROTTLED),
        ("greeting", "421 Shutting down", TroubleKind.NETWORK),
        ("greeting", "554 No service", TroubleKind.NETWORK),
        ("greeting", "drop", TroubleKind.NETWORK),
        ("greeting", "stall", TroubleKind.NETWORK),
        ("greeting", "SSH-2.0-OpenSSH_9.2", TroubleKind.NETWORK),
        ("ehlo", "550 Go away", TroubleKind.NETWORK),
        ("ehlo", "drop", TroubleKind.NETWORK),
        ("ehlo", "stall", TroubleKind.NETWORK),
        ("mail", "421 4.3.2 Shutting down", TroubleKind.NETWORK),
        ("mail", "421 4.7.0 Too fast", TroubleKind.THROTTLED),
        ("mail", "530 5.7.0 Authentication required", TroubleKind.LOGIN),
        ("rcpt", "550 5.4.5 Daily user sending limit exceeded", TroubleKind.THROTTLED),
        ("data", "454 4.7.0 Too much", TroubleKind.THROTTLED),
        ("message", "550 5.4.5 Daily user sending limit exceeded", TroubleKind.THROTTLED),
        ("message", "421 4.7.28 Unusual rate of mail", TroubleKind.THROTTLED),
    ],
)
async def test_trouble_of_the_account_is_raised(
    sink: SmtpSink, transport: SmtpTransport, impatient: SmtpTransport, *, step: str, fault: str, kind: TroubleKind
) -> None:
    transport = impatient if fault == "stall" else transport
    sink.fail(**{step: fault})
    with pytest.raises(AccountTrouble) as raised:
        await deliver(transport, "a@x.com")
    assert raised.value.kind is kind
    assert f"{sink.host}:{sink.port}" in raised.value.message
    assert raised.value.hint
    assert "\n" not in str(raised.value)
    assert sink.messages() == []
    sink.fail()
    assert verdicts(await deliver(transport, "a@x.com")) == {"a@x.com": Verdict.TAKEN}


async def test_recipients_refused_before_a_drop_stay_refused(sink: SmtpSink, transport: SmtpTransport) -> None:
    delivery = await deliver(transport, "a@x.com", "refuse-b@x.com", "droprcpt-c@x.com", "d@x.com")
    assert verdicts(delivery) == {
        "a@x.com": Verdict.RETRY,
        "refuse-b@x.com": Verdict.REFUSED,
        "droprcpt-c@x.com": Verdict.RETRY,
        "d@x.com": Verdict.RETRY,
    }
    assert sink.messages() == []


async def test_doubt_is_only_about_recipients_that_were_taken(sink: SmtpSink, transport: SmtpTransport) -> None:
    delivery = await deliver(transport, "takedrop-a@x.com", "refuse-b@x.com", "full-c@x.com")
    assert verdicts(delivery) == {
        "takedrop-a@x.com": Verdict.IN_DOUBT,
        "refuse-b@x.com": Verdict.REFUSED,
        "full-c@x.com": Verdict.RETRY,
    }
    assert len(sink.messages()) == 1


async def test_the_reply_to_the_message_is_waited_for_longer_than_to_a_command(sink: SmtpSink) -> None:
    transport = SmtpTransport(account(sink), timeouts=Timeouts(command=1, message=60))
    sink.fail(message="wait 1.5")
    assert verdicts(await deliver(transport, "a@x.com")) == {"a@x.com": Verdict.TAKEN}
    await transport.close()


async def test_a_message_too_large_is_refused_before_it_is_sent(sink: SmtpSink, transport: SmtpTransport) -> None:
    async def before_data() -> None:
        pytest.fail("the message was about to be sent")

    message = b"Subject: x\r\n\r\n" + b"x\r\n" * 50_000
    delivery = await transport.deliver(message, sender="me@x.com", recipients=["a@x.com"], before_data=before_data)
    assert verdicts(delivery) == {"a@x.com": Verdict.REFUSED}


async def test_before_data_comes_after_the_recipients_and_before_the_message(sink: SmtpSink) -> None:
    async with TcpProxy(sink.port) as proxy:
        transport = SmtpTransport(account(sink, port=proxy.port))

        async def before_data() -> None:
            assert sink.messages() == []
            proxy.reset_all()
            async with asyncio.timeout(5):
                while proxy.connections:
                    await asyncio.sleep(0.001)

        delivery = await transport.deliver(
            MESSAGE, sender="me@x.com", recipients=["refuse-a@x.com", "b@x.com"], before_data=before_data
        )
        assert verdicts(delivery) == {"refuse-a@x.com": Verdict.REFUSED, "b@x.com": Verdict.RETRY}
        assert sink.messages() == []


async def test_before_data_is_not_called_when_nobody_was_taken(sink: SmtpSink, transport: SmtpTransport) -> None:
    called = False

    async def before_data() -> None:
        nonlocal called
        called = True

    for recipient in ("refuse-a@x.com", "defer-a@x.com", "droprcpt-a@x.com"):
        await transport.deliver(MESSAGE, sender="me@x.com", recipients=[recipient], before_data=before_data)
    assert not called
    await transport.deliver(MESSAGE, sender="me@x.com", recipients=["a@x.com"], before_data=before_data)
    assert called


async def test_when_before_data_raises_nothing_is_sent(sink: SmtpSink, transport: SmtpTransport) -> None:
    async def before_data() -> None:
        raise LookupError("the lease is lost")

    with pytest.raises(LookupError, match="the lease is lost"):
        await transport.deliver(MESSAGE, sender="me@x.com", recipients=["a@x.com"], before_data=before_data)
    await deliver(transport, "b@x.com")
    assert [mail.recipients for mail in sink.messages()] == [("b@x.com",)]


async def test_a_connection_that_died_idle_is_replaced_without_counting(
    sink: SmtpSink, transport: SmtpTransport
) -> None:
    await asyncio.gather(*(deliver(transport, f"r{n}@x.com") for n in range(3)))
    sink.restart()
    for n in range(3):
        assert verdicts(await deliver(transport, f"after{n}@x.com")) == {f"after{n}@x.com": Verdict.TAKEN}
    assert len(sink.messages()) == 6


async def test_a_connection_told_to_close_while_idle_is_replaced(sink: SmtpSink) -> None:
    async with TcpProxy(sink.port) as proxy:
        transport = SmtpTransport(account(sink, port=proxy.port), timeouts=SHORT)
        await deliver(transport, "a@x.com")
        proxy.is_black_hole = True  # as after a NAT has forgotten the connection: not even a reset comes back
        heal = asyncio.get_running_loop().call_later(0.5, setattr, proxy, "is_black_hole", False)
        assert verdicts(await deliver(transport, "b@x.com")) == {"b@x.com": Verdict.TAKEN}
        heal.cancel()
        assert sink.connections() == 2
        await transport.close()


async def test_a_421_at_mail_on_a_kept_connection_is_tried_on_a_fresh_one_once(
    sink: SmtpSink, transport: SmtpTransport
) -> None:
    await deliver(transport, "a@x.com")
    sink.fail(mail="421 4.4.2 Idle too long")
    with pytest.raises(AccountTrouble) as raised:
        await deliver(transport, "b@x.com")
    assert raised.value.kind is TroubleKind.NETWORK
    assert sink.connections() == 2


async def test_a_line_cut_within_the_message_leaves_doubt(sink: SmtpSink) -> None:
    async with TcpProxy(sink.port) as proxy:
        transport = SmtpTransport(account(sink, port=proxy.port))

        async def before_data() -> None:
            proxy.cut_after(len(b"DATA\r\n") + 10_000)

        delivery = await transport.deliver(
            b"x" * 70 + b"\r\n" * 10_000, sender="me@x.com", recipients=["a@x.com"], before_data=before_data
        )
        assert verdicts(delivery) == {"a@x.com": Verdict.IN_DOUBT}
        assert sink.messages() == []


@pytest.mark.parametrize("step", ["greeting", "ehlo", "mail", "rcpt", "data", "message"])
async def test_cancelled_in_the_middle_it_closes_the_connection(sink: SmtpSink, step: str) -> None:
    async with TcpProxy(sink.port) as proxy, asyncio.timeout(10):
        transport = SmtpTransport(account(sink, port=proxy.port))
        sink.fail(**{step: "stall"})
        delivering = asyncio.create_task(deliver(transport, "a@x.com"))
        while not proxy.connections:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # wherever this lands, it is before the reply that never comes
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
        while proxy.connections:
            await asyncio.sleep(0.01)
        sink.fail()
        assert verdicts(await deliver(transport, "b@x.com")) == {"b@x.com": Verdict.TAKEN}
        assert [mail.recipients for mail in sink.messages()] == [("b@x.com",)]
        await transport.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_refused_connection_is_named(host: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can
        port = taken.getsockname()[1]
        transport = SmtpTransport(SmtpAccount(host=host, port=port, security=Security.STARTTLS))
        with pytest.raises(AccountTrouble) as raised:
            await transport.check()
    assert raised.value.kind is TroubleKind.NETWORK
    assert raised.value.message == f"{host}:{port} refused the connection: nothing listens there."


@pytest.mark.parametrize("host", ["no-such-host.invalid", "smtp..example", "x" * 70 + ".example"])
async def test_a_name_that_nobody_knows_is_named(host: str) -> None:
    transport = SmtpTransport(SmtpAccount(host=host, port=587, security=Security.STARTTLS))
    with pytest.raises(AccountTrouble) as raised:
        await transport.check()
    assert raised.value.kind is TroubleKind.NETWORK
    assert "cannot be looked up" in raised.value.message
    assert "SMTP_HOST" in name_variables(raised.value.hint)


async def test_a_port_that_swallows_everything_is_called_blocked() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        for filler in fillers:  # a full backlog drops what comes next, as a firewall does
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        transport = SmtpTransport(SmtpAccount(host="127.0.0.1", port=port, security=Security.STARTTLS), timeouts=SHORT)
        with pytest.raises(AccountTrouble) as raised:
            await transport.check()
        for filler in fillers:
            filler.close()
    assert raised.value.kind is TroubleKind.NETWORK
    assert "timed out" in raised.value.message
    assert "firewall" in raised.value.hint


async def test_a_sink_that_is_killed_and_comes_back_is_served_again(sink: SmtpSink, transport: SmtpTransport) -> None:
    await deliver(transport, "a@x.com")
    sink.kill()
    with pytest.raises(AccountTrouble, match="refused the connection"):
        await deliver(transport, "b@x.com")
    sink.start()
    await transport.deliver(MESSAGE, sender="me@x.com", recipients=["c@x.com"], before_data=nothing)
    assert [mail.recipients for mail in sink.messages()] == [("a@x.com",), ("c@x.com",)]
