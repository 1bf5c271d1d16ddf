"""Every log line is printable, bounded and on a line of its own; floods are cut."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.cli.logs import MAX_LINE, Collapse, LineFormatter, printable, truncate

TRICKS = {
    "\x1b[2J": "\\x1b[2J",
    "a\r\nb": "a\\r\\nb",
    "\x9b31m": "\\x9b31m",
    "\u202eabc": "\\u202eabc",
    "\u200b\u2066": "\\u200b\\u2066",
    "\U000e0041": "\\U000e0041",
    "\ud800": "\\ud800",
    "\u2028": "\\u2028",
    "\u3000": "\\u3000",
    "\0\x07\x7f": "\\x00\\x07\\x7f",
    "Grüße, 世界 🎉": "Grüße, 世界 🎉",
    "שלום": "שלום",
    "": "",
}


class Backend:
    """A logger that nobody else hears, and what it wrote."""

    def __init__(self) -> None:
        self.time = 0.0
        self.written = io.StringIO()
        self.handler = logging.StreamHandler(self.written)
        self.handler.setFormatter(LineFormatter())
        self.handler.addFilter(Collapse(clock=lambda: self.time))

    def log(self, name: str, message: str, *arguments: object, line: int = 1, exc_info: object = None) -> None:
        self.handler.handle(
            logging.LogRecord(name, logging.WARNING, "file.py", line, message, arguments, exc_info)  # type: ignore[arg-type]
        )

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().split("\n")[:-1]


@pytest.fixture
def line() -> Backend:
    return Backend()


@pytest.mark.parametrize("trick", TRICKS)
def test_what_does_not_print_is_written_as_an_escape(trick: str) -> None:
    assert printable(trick) == TRICKS[trick]


@given(st.text(st.characters()))
def test_whatever_is_written_stays_on_one_line_and_prints(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text).splitlines()) <= 1


def test_a_long_message_is_cut_and_says_how_much_is_missing(line: Backend) -> None:
    line.log("mcp", "%s", "a" * 1_000_000)
    [written] = line.lines
    assert len(written) < MAX_LINE + 100
    assert "(998,000 more characters)" in written
    assert truncate("a" * MAX_LINE) == "a" * MAX_LINE


def test_a_traceback_is_bounded_and_cannot_pass_for_another_line(line: Backend) -> None:
    forged = "2026-01-01 00:00:00,000 ERROR outspool: forged"
    try:
        raise ValueError(f"\x1b[31m\n{forged}\r{forged}\n" + "x" * 1_000_000)  # noqa: TRY301 - a stranger's
    except ValueError:
        line.log("mcp", "it failed\n%s", forged, exc_info=sys.exc_info())
    assert all(written.startswith("    ") for written in line.lines[1:])
    assert all(written.isprintable() for written in line.lines)
    assert sum(map(len, line.lines)) < 30_000
    assert "ValueError" in line.written.getvalue()


def test_a_flood_is_cut_says_so_and_is_heard_again_after_a_minute(line: Backend) -> None:
    for number in range(1000):
        line.log("mcp.server.sse", f"no session {number}")
        line.log("uvicorn.error", "another", line=2)
    assert len(line.lines) == 60
    assert sum("more like this are not logged" in written for written in line.lines) == 2
    line.time = 61
    line.log("mcp.server.sse", "no session")
    assert len(line.lines) == 61


def test_what_is_known_of_each_email_is_never_cut(line: Backend) -> None:
    for number in range(200):
        line.log("outspool.services.delivery.recording", "email %d was sent, and could not be recorded", number)
    assert len(line.lines) == 200
