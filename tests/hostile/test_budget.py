"""Every call is answered within a budget of memory and time, without blocking others.

At most min(ten times the request + 50 MB, 300 MB) more memory, and 5 s; a ping meanwhile is answered within 0.2 s if
the request has at most 4 MB, else within 1 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from support.budget import Server, Spent, environment, over_http, over_stdio
from support.budget_cases import cases, message
from support.smtp_sink import SmtpSink

MEGABYTE = 1_000_000

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measured with Linux's /proc")


@pytest.fixture(params=["stdio", "http"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AbstractAsyncContextManager[Server]]:
    """Return an outspool to be entered, over each transport, with a mail server behind it."""
    (tmp_path / "smtp").mkdir()
    with SmtpSink(tmp_path / "smtp") as sink:
        variables = environment(tmp_path, sink)
        yield over_stdio(variables, tmp_path) if request.param == "stdio" else over_http(variables, tmp_path)


async def spend(server: Server, size: int, *names: str) -> list[Spent]:
    """Make the calls of this size, or those of these names, each of which must keep to the budget."""
    chosen = [case for case in cases(size) if not names or case[0] in names]
    assert len(chosen) >= len(names)
    return [await server.spend(*case) for case in chosen]


async def test_calls_of_two_megabytes_keep_to_the_budget(run: AbstractAsyncContextManager[Server]) -> None:
    async with run as server:
        await spend(server, 2 * MEGABYTE)


LARGEST = ("a body of lines", "a page without an end", "a file", "a batch as a string")


@pytest.mark.slow
async def test_calls_of_24_megabytes_keep_to_the_budget(run: AbstractAsyncContextManager[Server]) -> None:
    async with run as server:
        await spend(server, 24 * MEGABYTE, *LARGEST)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 4, 12, 25, 40])
async def test_calls_of_every_size_keep_to_the_budget(run: AbstractAsyncContextManager[Server], size: int) -> None:
    async with run as server:
        await spend(server, size * MEGABYTE)


WORDS = {
    "numbers as addresses": "too_large: The call holds too many values; 50,000 is the most.",
    "depth of 100,000": "too_large: The call holds",
    "unknown arguments": "too_large: ",
    "a number of many digits": "",
    "strings without commas": "",
    "fewer wrong addresses": "too_large: to has 45,000 entries",
    "fewer unknown arguments": 'invalid_argument: unknown arguments "k0", "k1", "k2", "k3", "k4"….',
    "fewer wrong headers": "too_large: headers has 45,000 entries",
    "a file of unknown fields": 'invalid_argument: unknown arguments "k0", "k1", "k2", "k3", "k4"….',
    "a batch of nothing": "too_large: ",
    "a batch of one body": "too_large: The texts of the emails are",
}


async def test_what_is_too_much_is_refused_in_words(run: AbstractAsyncContextManager[Server]) -> None:
    async with run as server:
        for spent in await spend(server, 1_500_000, *WORDS):
            assert spent.is_error, spent
            assert WORDS[spent.name] in spent.text, spent


async def test_a_message_that_is_no_json_is_answered_and_the_next_one_too(
    run: AbstractAsyncContextManager[Server],
) -> None:
    async with run as server:
        for broken in (b"{", b'{"name": }', b"[1, 2", b'{"name": "\\ud800"}', b'{"name": "\xff"}', b"nul"):
            answer = await server.request("tools/call", broken)
            assert "error" in answer or answer["result"]["isError"], broken
        assert not (await server.call("fine", "send_email", message())).is_error


async def test_a_line_beyond_all_limits_is_answered(run: AbstractAsyncContextManager[Server]) -> None:
    async with run as server:
        spent = await server.spend("longest", "send_email", message(body="x" * (45 * MEGABYTE)))
        assert spent.is_error
        assert (
            spent.text == "too_large: The call is longer than 40 MB. Attach smaller files, or fewer. Nothing was done."
        )
