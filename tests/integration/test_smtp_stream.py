"""Streamed messages: whole or not at all, in the memory of one chunk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.smtp_delivery import account, deliver, nothing, verdicts
from support.smtp_sink import SmtpSink
from support.tcp_proxy import TcpProxy

from outspool.adapters.smtp.stream import Stuffing
from outspool.adapters.smtp.transaction import pack
from outspool.adapters.smtp.transport import Security, SmtpAccount, SmtpTransport, Timeouts
from outspool.domain.delivery import Delivery, Verdict
from outspool.errors import AttachmentLost
from outspool.message.transfer_encoding import BYTES_PER_LINE, base64_lines
from outspool.ports.transport import Stream

HEAD = b"Subject: large\r\nMessage-ID: <large@example.com>\r\n\r\n"
LINES = [HEAD, *(base64_lines(os.urandom(256 * BYTES_PER_LINE)) for _ in range(300))]
SHORT = Timeouts(connect=1, command=1, message=1)


def stream_of(chunks: Sequence[bytes]) -> Stream:
    async def one_by_one() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return Stream(one_by_one(), sum(map(len, chunks)))


async def send(
    transport: SmtpTransport, stream: Stream, *recipients: str, before: Callable[[], Awaitable[None]] = nothing
) -> Delivery:
    return await transport.deliver(
        stream, sender="me@example.com", recipients=recipients or ("a@example.com",), before_data=before
    )


SHARED_SINK = {"size_limit": 64 * 2**20}


async def test_a_stream_arrives_whole(sink: SmtpSink, transport: SmtpTransport) -> None:
    delivery = await send(transport, stream_of(LINES), "a@example.com", "refuse-b@example.com")
    assert verdicts(delivery) == {"a@example.com": Verdict.TAKEN, "refuse-b@example.com": Verdict.REFUSED}
    [mail] = sink.messages()
    assert mail.raw == b"".join(LINES)
    assert f"SIZE={sum(map(len, LINES))}" in mail.mail_options


async def test_the_line_is_good_for_another_message_afterwards(sink: SmtpSink, transport: SmtpTransport) -> None:
    await send(transport, stream_of(LINES))
    await deliver(transport, "b@example.com")
    await send(transport, stream_of(LINES[:2]))
    assert len(sink.messages()) == 3
    assert sink.connections() == 1


@pytest.mark.parametrize(
    "chunks",
    [
        [HEAD, b".\r\n", b"..\r\n", b".", b".\r\n"],
        [HEAD + b"a\r\n", b".b\r\n.\r\n", b".c"],
        [HEAD, b"a", b"", b".b\r\n", b"", b"."],
        [b".\r\n" + HEAD, b"."],
    ],
)
async def test_dots_come_out_as_they_went_in_wherever_chunks_are_cut(
    sink: SmtpSink, transport: SmtpTransport, chunks: list[bytes]
) -> None:
    await send(transport, stream_of(chunks))
    [mail] = sink.messages()
    assert mail.raw.removesuffix(b"\r\n") == b"".join(chunks).removesuffix(b"\r\n")


@given(st.lists(st.text("a.\n", max_size=6), max_size=12))
def test_a_message_is_stuffed_the_same_in_chunks_as_in_one_piece(pieces: list[str]) -> None:
    chunks = [piece.encode().replace(b"\n", b"\r\n") for piece in pieces]
    stuffing = Stuffing()
    written = b"".join([*(stuffing.stuff(chunk) for chunk in chunks), stuffing.end])
    whole = b"".join(chunks)
    assert written == (pack(whole, "a@b", ["c@d"]).payload if whole else b".\r\n")


@pytest.mark.parametrize("chunk", [b"a\nb\r\n", b"a\rb\r\n", b"\r\n.\n\r\n", b"\n.\r\n", b"a\r"])
async def test_a_bare_line_end_is_never_sent(sink: SmtpSink, transport: SmtpTransport, chunk: bytes) -> None:
    with pytest.raises(ValueError, match="CRLF"):
        await send(transport, stream_of([HEAD, chunk]))
    await deliver(transport, "b@example.com")
    [mail] = sink.messages()
    assert mail.recipients == ("b@example.com",)


async def test_a_source_that_fails_midway_sends_nothing(sink: SmtpSink, transport: SmtpTransport) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for chunk in LINES[:20]:
            yield chunk
        raise AttachmentLost("It is gone.")

    marked: list[bool] = []

    async def mark() -> None:
        marked.append(True)

    with pytest.raises(AttachmentLost, match="gone"):
        await send(transport, Stream(broken(), sum(map(len, LINES))), before=mark)
    assert marked
    await deliver(transport, "b@example.com")
    [mail] = sink.messages()
    assert mail.recipients == ("b@example.com",)


async def test_a_line_lost_midway_leaves_no_doubt(sink: SmtpSink) -> None:
    async with TcpProxy(sink.port) as proxy, opened(account(sink, port=proxy.port)) as transport:
        proxy.cut_after(1_000_000)
        # Far more than the network takes on its own account: once it has the final dot there is doubt.
        delivery = await send(transport, stream_of([HEAD, *LINES[1:] * 8]))
        assert verdicts(delivery) == {"a@example.com": Verdict.RETRY}
        assert sink.messages() == []
        proxy.reset_all()
        await send(transport, stream_of(LINES))
    assert len(sink.messages()) == 1


async def test_a_server_that_stops_reading_midway_leaves_no_doubt() -> None:
    async with deaf(after=b"DATA\r\n") as port:
        deaf_account = SmtpAccount(host="127.0.0.1", port=port, security=Security.NONE)
        async with opened(deaf_account, SHORT) as transport, asyncio.timeout(30):
            delivery = await send(transport, endless())
    assert verdicts(delivery) == {"a@example.com": Verdict.RETRY}


async def test_silence_after_the_final_dot_is_doubt(sink: SmtpSink) -> None:
    async with opened(account(sink), SHORT) as transport:
        assert verdicts(await send(transport, stream_of(LINES[:3]), "stall-a@example.com")) == {
            "stall-a@example.com": Verdict.IN_DOUBT
        }
        assert verdicts(await send(transport, stream_of(LINES[:3]), "takedrop-a@example.com")) == {
            "takedrop-a@example.com": Verdict.IN_DOUBT
        }
    [mail] = sink.messages()
    assert mail.raw == b"".join(LINES[:3])


async def test_what_the_server_says_after_the_final_dot_counts(sink: SmtpSink, transport: SmtpTransport) -> None:
    assert verdicts(await send(transport, stream_of(LINES[:3]), "data550-a@example.com")) == {
        "data550-a@example.com": Verdict.REFUSED
    }
    assert verdicts(await send(transport, stream_of(LINES[:3]), "data451-a@example.com")) == {
        "data451-a@example.com": Verdict.RETRY
    }


async def test_a_refusal_in_the_middle_is_heard_and_ends_the_sending() -> None:
    async with deaf(after=b"DATA\r\n", says=b"552 5.3.4 Too large for me\r\n") as port:
        deaf_account = SmtpAccount(host="127.0.0.1", port=port, security=Security.NONE)
        async with opened(deaf_account) as transport, asyncio.timeout(30):
            delivery = await send(transport, endless())
    [outcome] = delivery.outcomes.values()
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.reply is not None
    assert outcome.reply.text == "Too large for me"


async def test_an_approval_in_the_middle_is_nonsense() -> None:
    async with deaf(after=b"DATA\r\n", says=b"250 2.0.0 Fine already\r\n") as port:
        deaf_account = SmtpAccount(host="127.0.0.1", port=port, security=Security.NONE)
        async with opened(deaf_account) as transport, asyncio.timeout(30):
            delivery = await send(transport, endless())
    assert verdicts(delivery) == {"a@example.com": Verdict.RETRY}


async def test_a_stream_that_is_too_large_is_refused_before_a_byte_of_it_is_read(tmp_path_factory: object) -> None:
    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    with SmtpSink(tmp_path_factory.mktemp("small"), size_limit=1000) as small:
        async with opened(account(small)) as transport:
            delivery = await send(transport, Stream(unreadable(), 2000))
    assert verdicts(delivery) == {"a@example.com": Verdict.REFUSED}


async def test_a_server_is_given_no_more_than_it_takes() -> None:
    """Backpressure: what a deaf server does not take is not read either."""
    read: list[int] = []

    async def counted() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield LINES[1]

    async with deaf(after=b"DATA\r\n") as port:
        deaf_account = SmtpAccount(host="127.0.0.1", port=port, security=Security.NONE)
        async with opened(deaf_account, SHORT) as transport:
            await send(transport, Stream(counted(), 10**9))
    assert len(read) * len(LINES[1]) < 16 * 2**20


def endless() -> Stream:
    async def lines() -> AsyncIterator[bytes]:
        while True:
            yield LINES[1]

    return Stream(lines(), 10**9)


async def unreadable() -> AsyncIterator[bytes]:
    raise AssertionError("it was read")
    yield b""


@asynccontextmanager
async def opened(to: SmtpAccount, timeouts: Timeouts | None = None) -> AsyncIterator[SmtpTransport]:
    transport = SmtpTransport(to, timeouts=timeouts)
    try:
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def deaf(*, after: bytes, says: bytes = b"") -> AsyncIterator[int]:
    """Run a server that says yes to every command, and reads nothing any more `after` one, whatever it then `says`."""
    lines: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(writer)
        writer.write(b"220 hello\r\n")
        while line := await reader.readline():
            writer.write(b"354 go on\r\n" if line == after else b"250 fine\r\n")
            if line == after:
                await reader.readexactly(100_000)
                writer.write(says)
                break

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for writer in lines:
                writer.transport.abort()
            await asyncio.sleep(0)
