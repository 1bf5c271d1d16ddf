"""Delivery to a real SMTP server: content, sender, number of connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.smtp_delivery import MESSAGE, account, deliver, verdicts
from support.smtp_sink import SmtpSink
from support.tcp_proxy import TcpProxy

from outspool.adapters.smtp.transaction import pack
from outspool.adapters.smtp.transport import SmtpTransport, Timeouts
from outspool.domain.delivery import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


SHARED_SINK: dict[str, int] = {}


async def test_a_message_arrives_as_it_was_with_its_envelope(sink: SmtpSink, transport: SmtpTransport) -> None:
    delivery = await deliver(transport, "a@example.com", "b@example.com")
    [mail] = sink.messages()
    assert mail.raw == MESSAGE
    assert mail.envelope_from == "me@example.com"
    assert mail.recipients == ("a@example.com", "b@example.com")
    assert mail.mail_options == (f"SIZE={len(MESSAGE)}",)
    assert verdicts(delivery) == {"a@example.com": Verdict.TAKEN, "b@example.com": Verdict.TAKEN}
    reply = delivery.outcomes["b@example.com"].reply
    assert reply is not None
    assert str(reply).startswith("250 2.0.0 Ok: queued as")


async def test_each_recipient_has_its_own_outcome(sink: SmtpSink, transport: SmtpTransport) -> None:
    delivery = await deliver(transport, "a@x.com", "refuse-b@x.com", "full-c@x.com", "once-d@x.com", "e@x.com")
    assert verdicts(delivery) == {
        "a@x.com": Verdict.TAKEN,
        "refuse-b@x.com": Verdict.REFUSED,
        "full-c@x.com": Verdict.RETRY,
        "once-d@x.com": Verdict.RETRY,
        "e@x.com": Verdict.TAKEN,
    }
    assert str(delivery.outcomes["refuse-b@x.com"].reply) == "550 5.1.1 No such mailbox here"
    [mail] = sink.messages()
    assert mail.recipients == ("a@x.com", "e@x.com")


async def test_a_recipient_named_twice_is_served_once(sink: SmtpSink, transport: SmtpTransport) -> None:
    delivery = await deliver(transport, "a@x.com", "a@x.com")
    assert list(delivery.outcomes) == ["a@x.com"]
    assert sink.messages()[0].recipients == ("a@x.com",)


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\n",
        b".starts with a dot\r\n.\r\n",
        b"Subject: x\r\n\r\nlast line is a dot\r\n.\r\n",
        b"Subject: x\r\n\r\n" + b"." * 900 + b"\r\n",
    ],
)
async def test_dots_arrive_equal(sink: SmtpSink, transport: SmtpTransport, message: bytes) -> None:
    await deliver(transport, "a@x.com", message=message)
    assert [mail.raw for mail in sink.messages()] == [message]


@pytest.mark.parametrize(
    ("message", "arrives"),
    [
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"),
        (b"a\r\n.\nMAIL FROM:<evil@x.com>\r\n", b"a\r\n.\r\nMAIL FROM:<evil@x.com>\r\n"),
        (b"a\n.\r\nb\r.\rc", b"a\r\n.\r\nb\r\n.\r\nc\r\n"),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n"),
    ],
)
async def test_bare_line_ends_cannot_smuggle_a_second_message(
    sink: SmtpSink, transport: SmtpTransport, message: bytes, arrives: bytes
) -> None:
    await deliver(transport, "a@x.com", message=message)
    assert [mail.raw for mail in sink.messages()] == [arrives]


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a"]), max_size=40).map(b"".join))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_what_goes_on_the_wire_ends_at_its_last_line_only(message: bytes) -> None:
    parcel = pack(message, "me@x.com", ["a@x.com"])
    assert isinstance(parcel.payload, bytes)
    *lines, dot, rest = parcel.payload.split(b"\r\n")
    assert (dot, rest) == (b".", b"")
    assert b"." not in lines
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    unstuffed = [line.removeprefix(b".") for line in lines]
    assert unstuffed == parcel_lines(message)
    assert parcel.size == sum(len(line) + 2 for line in unstuffed)


def parcel_lines(message: bytes) -> list[bytes]:
    lines = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return lines[:-1] if len(lines) > 1 and not lines[-1] else lines


async def test_a_large_message_arrives_equal(sink: SmtpSink, transport: SmtpTransport) -> None:
    message = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 60_000
    await deliver(transport, "a@x.com", message=message)
    assert sink.messages()[0].raw == message


async def test_eight_bit_text_is_announced(sink: SmtpSink, transport: SmtpTransport) -> None:
    message = "Subject: x\r\n\r\nGrüße\r\n".encode()
    await deliver(transport, "a@x.com", message=message)
    [mail] = sink.messages()
    assert mail.raw == message
    assert "BODY=8BITMIME" in mail.mail_options


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a@x.com,b@x.com",
        "a@x.com SIZE=1",
        "<a@x.com>",
        "a@x.com>",
        "a@x.com\r\nRCPT TO:<evil@x.com>",
        "a\x00@x.com",
        "ä@x.com",
        "a@bücher.example",
        "a\u2028@x.com",
    ],
)
async def test_an_address_that_is_not_one_plain_address_is_refused(
    sink: SmtpSink, transport: SmtpTransport, address: str
) -> None:
    with pytest.raises(ValueError, match="is not one plain ASCII address"):
        await deliver(transport, "a@x.com", address)
    with pytest.raises(ValueError, match="is not one plain ASCII address"):
        await deliver(transport, "a@x.com", sender=address)
    assert sink.connections() == 0


async def test_no_recipient_is_refused(transport: SmtpTransport) -> None:
    with pytest.raises(ValueError, match="at least one recipient"):
        await deliver(transport)


async def test_connections_are_kept_and_no_more_are_opened_than_deliveries_at_a_time(sink: SmtpSink) -> None:
    transport = SmtpTransport(account(sink))
    for wave in range(10):
        await asyncio.gather(*(deliver(transport, f"r{wave}.{n}@x.com") for n in range(3)))
    assert len(sink.messages()) == 30
    assert sink.connections() == 3
    for n in range(5):
        await deliver(transport, f"later{n}@x.com")
    assert sink.connections() == 3
    await transport.close()


async def test_the_connection_used_last_is_used_next(sink: SmtpSink) -> None:
    transport = SmtpTransport(account(sink))
    await asyncio.gather(*(deliver(transport, f"r{n}@x.com") for n in range(3)))
    peers = {mail.peer for mail in sink.messages()}
    for n in range(5):
        await deliver(transport, f"later{n}@x.com")
    assert len(peers) == 3
    assert len({mail.peer for mail in sink.messages()[3:]}) == 1
    await transport.close()


async def test_a_connection_serves_a_hundred_messages(sink: SmtpSink, transport: SmtpTransport) -> None:
    for _ in range(101):
        await deliver(transport, "a@x.com")
    peers = [mail.peer for mail in sink.messages()]
    assert len(set(peers[:100])) == 1
    assert peers[100] != peers[0]


async def test_an_idle_connection_is_closed_after_a_while(sink: SmtpSink) -> None:
    async with TcpProxy(sink.port) as proxy, asyncio.timeout(10):
        transport = SmtpTransport(account(sink, port=proxy.port), timeouts=Timeouts(idle=0.05))
        await deliver(transport, "a@x.com")
        while proxy.connections:
            await asyncio.sleep(0.01)
        await deliver(transport, "b@x.com")
        assert sink.connections() == 2
        await transport.close()


async def test_closing_leaves_no_connection_and_no_task(sink: SmtpSink) -> None:
    transport = SmtpTransport(account(sink))
    await asyncio.gather(*(deliver(transport, f"r{n}@x.com") for n in range(2)))
    await transport.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await deliver(transport, "late@x.com")
    await deliver(transport, "later@x.com")
    assert sink.connections() == 4  # whoever delivers after close may, but nothing is kept


async def test_after_a_refusal_the_connection_is_used_again(sink: SmtpSink, transport: SmtpTransport) -> None:
    refusals: list[Sequence[str]] = [["refuse-a@x.com"], ["data550-a@x.com"], ["data451-a@x.com"], ["defer-a@x.com"]]
    for recipients in refusals:
        await deliver(transport, *recipients)
    sink.fail(mail="553 5.7.1 Not your address")
    await deliver(transport, "a@x.com")
    sink.fail(data="554 5.7.1 Not this one")
    await deliver(transport, "a@x.com")
    sink.fail()
    delivery = await deliver(transport, "b@x.com")
    assert verdicts(delivery) == {"b@x.com": Verdict.TAKEN}
    assert [mail.recipients for mail in sink.messages()] == [("b@x.com",)]
    assert sink.connections() == 1


async def test_check_logs_in_over_a_fresh_connection_and_leaves(sink: SmtpSink, transport: SmtpTransport) -> None:
    await deliver(transport, "a@x.com")
    await transport.check()
    assert sink.connections() == 2
    await deliver(transport, "b@x.com")
    assert sink.connections() == 2
