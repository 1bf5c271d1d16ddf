"""HTML made to overload parsers: its text alternative takes time and memory in proportion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.bounded import run_bounded
from support.front import Accepted, Front, message

from outspool.message.html_reader import MAX_DEPTH, Start, Text, read_html
from outspool.message.text_alternative import build_text_alternative

TEXT = "outspool.message.text_alternative:build_text_alternative"

BOMBS: dict[str, Callable[[int], str]] = {
    "quotes": lambda n: "<blockquote>" * (n // 30) + "x<br>" * (n // 10),
    "quotes closed": lambda n: "<blockquote>" * (n // 50) + "x<br>" * (n // 10) + "</blockquote>" * (n // 50),
    "lists": lambda n: "<ul><li>" * (n // 20) + "x<br>" * (n // 10),
    "lists in a list": lambda n: "<ul>" * 100 + "<li>x" * ((n - 400) // 5),
    "definitions": lambda n: "<dl><dd>" * (n // 20) + "x<br>" * (n // 10),
    "tables in tables": lambda n: "<table><tr><td>" * (n // 15) + "x",
    "a table with one wide row": lambda n: "<table><tr>" + "<td>x" * (n // 20) + "<tr><td>x" * (n // 15),
    "bold": lambda n: "<b>" * (n // 3) + "x",
    "bold, text": lambda n: "<b>x" * (n // 4),
    "links": lambda n: "<a href=x>" * (n // 10) + "y",
    "long links": lambda n: f'<a href="{"x" * 900}">y</a>' * (n // 920),
    "quotes in lists in links in tables": lambda n: (
        "<blockquote><ul><li><b><a href=x><table><tr><td>" * (n // 100) + "x<br>" * (n // 15)
    ),
    "lines in a pre in quotes": lambda n: "<blockquote>" * 60 + "<pre>" + "x\n" * ((n - 800) // 2),
    "attributes": lambda n: "<p " + "a=1 " * (n // 4) + ">x",
    "attributes without an end": lambda n: '<p a="' * (n // 6),
    "tags without an end": lambda n: "<a " * (n // 3),
    "end tags": lambda n: "<b>" * 200 + "</i>" * (n // 4),
    "comments without an end": lambda n: "<!--" * (n // 4),
    "comments": lambda n: "<!---->" * (n // 7) + "x",
    "scripts without an end": lambda n: "<script>" * (n // 8),
    "a style of broken ends": lambda n: "<style>" + "</style" * (n // 7),
    "references": lambda n: "&nGt;" * (n // 5),
    "one reference of many digits": lambda n: "&#" + "9" * (n - 2),
    "references without an end": lambda n: ("&" + "a" * 40) * (n // 41),
    "angle brackets": lambda n: "<" * n,
    "headings": lambda n: "<h6>x" * (n // 5),
    "marks of Markdown": lambda n: "[*_`\\" * (n // 5),
    "hidden": lambda n: '<p style="' + ";display:" * (n // 9) + '">x',
    "unclosed paragraphs in depth": lambda n: "<b>" * 200 + "<p>x" * (n // 4),
}


def test_the_text_beside_html_costs_little_whatever_the_html() -> None:
    """Eight times as much HTML must not take sixty times as long, nor gigabytes, nor the process."""
    small, large = 20_000, 160_000
    sizes = [(name, size) for name in BOMBS for size in (small, large)]
    costs = run_bounded(TEXT, [BOMBS[name](size) for name, size in sizes])
    for (name, size), cost in zip(sizes, costs, strict=True):
        assert isinstance(cost.returned, str)
        assert len(cost.returned) <= 2 * size + 2_100, name
        assert cost.megabytes < 50, (name, size, cost.megabytes)
        assert cost.seconds < (3 if size == large else 0.6), (name, size, cost.seconds)


def test_html_of_thousands_of_levels_does_not_end_the_process() -> None:
    tags = ("blockquote", "ul", "li", "div", "b", "a href=x", "table", "span", "font", "x-unknown", "svg", "pre")
    costs = run_bounded(TEXT, [f"<{tag}>" * 12_000 + "x" for tag in tags])
    texts = {tag: cost.returned.strip(" >-*\n") for tag, cost in zip(tags, costs, strict=True)}
    assert texts == dict.fromkeys(tags, "x") | {"a href=x": "[x](x)", "svg": ""}


def test_no_page_is_deeper_than_a_reader_must_bear() -> None:
    depth = deepest = 0
    for event in read_html("<div><p><b>" * 1_000 + "x" + "</p>" * 500):
        depth += 0 if isinstance(event, Text) else 1 if isinstance(event, Start) else -1
        deepest = max(deepest, depth)
    assert depth == 0
    assert deepest == MAX_DEPTH


def test_what_is_too_deep_stays_readable() -> None:
    text = build_text_alternative("<blockquote>" * 800 + "<p>Dear Ada,</p>" + "see you<br>" * 2_400)
    assert "Dear Ada," in text
    assert text.count("see you") == 2_400
    assert max(map(len, text.splitlines())) < 200


@pytest.mark.asyncio(loop_scope="session")
async def test_a_preview_of_nested_quotes_is_small_and_quick(face: Front) -> None:
    html = "<blockquote>" * 800 + "x<br>" * 2_400
    answer = await face.call("send_email", message(**_message(html), preview=True))
    assert not answer.is_error
    assert answer.structured_content is not None
    assert answer.structured_content["size"] < 4 * len(html)


@pytest.mark.asyncio(loop_scope="session")
async def test_every_bomb_is_carried_as_it_is(face: Front) -> None:
    """The HTML itself is the caller's: it is sent unchanged, beside a text that is no larger than it."""
    accepted = await face.accepted([_message(make(6_000)) for make in BOMBS.values()])
    for answer, mail in zip(accepted, await face.arrivals(accepted), strict=True):
        assert isinstance(answer, Accepted)
        assert len(mail.raw) < 8 * 6_000 + 4_000


def _message(html: str) -> dict[str, Any]:
    return {"to": ["ann@example.com"], "subject": "Hello", "body": None, "html": html}
