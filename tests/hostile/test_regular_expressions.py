"""Every regular expression takes linear time, or its input is short."""

from __future__ import annotations

import contextlib
import time

import pytest
from support.bounded import run_bounded
from support.patterns import all_patterns

from outspool.services.templates.limits import pads_widely

MOST = 15_000
LIMITS = {
    "outspool.adapters.files.rooted_files:_URL": 4_096,  # the longest path
    "outspool.domain.attachment:_ENCODED_WORD": 4_096,  # the longest name of a file
    "outspool.domain.address:_NAMED": 330,  # a mailbox has 662 characters; here every other is part of a pair
    "outspool.domain.address:_GROUP": 662,
    "outspool.domain.recurrence:_OFFSET": 64,  # the longest time
    "outspool.domain.text:_ENCODED_WORD": 998,  # the longest line
}
"""What a text is measured for before it meets an expression that takes longer than in proportion."""


def test_every_regular_expression_takes_time_in_proportion() -> None:
    assert LIMITS.keys() <= all_patterns().keys()
    [cost] = run_bounded("support.patterns:sweep", [LIMITS | {"": MOST}], timeout=100)
    assert cost.returned == {}


@pytest.mark.parametrize("text", ["%(", "%((", "%", "% ", "%0", "%(a)", "%1", "()", "%()", "%.", "%%("])
def test_the_check_of_widths_takes_time_in_proportion(text: str) -> None:
    start = time.thread_time()
    pads_widely(text * (300_000 // len(text)))
    assert time.thread_time() - start < 2


WIDE = [
    "%999d",
    "%*d",
    "%.100f",
    "%5.*f",
    "%-0100d",
    "%%%200d",
    "%(a)999s",
    "%(a(b)c)999d",
    "%(()())-100s",
    "%d%(%)100d",
]
NARROW = [
    "%99d",
    "100%",
    "%%999d",
    "%d999",
    "%(x)s 1234",
    "(%s)1234",
    "% 5d%",
    "%",
    "%(",
    "%(a)",
    "%%(a)200d",
    "%s %5.2f",
    "%(a",
]


@pytest.mark.parametrize("text", WIDE)
def test_a_conversion_that_pads_widely_is_found(text: str) -> None:
    assert pads_widely(text)
    assert pads_widely(f"a %s b {text} c")


@pytest.mark.parametrize("text", NARROW)
def test_what_pads_little_passes(text: str) -> None:
    assert not pads_widely(text)
    with contextlib.suppress(TypeError, ValueError):  # no text to format at all
        assert len(text % {"x": 1, "a": 1}) < 150
