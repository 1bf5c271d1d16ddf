"""The text made from HTML says what a person would have read."""

from __future__ import annotations

import pytest

from outspool.message.text_alternative import build_text_alternative


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two<br>three</p>", "One\n\nTwo\nthree\n"),
        ("<h1>Title</h1><p>Fish &amp; chips &euro;5 &lt;now&gt; &#128512;", "# Title\n\nFish & chips €5 <now> 😀\n"),
        ("<b>bold</b> and <i>slanted</i>", "**bold** and *slanted*\n"),
        ('<a href="https://x.example/?a=1&amp;copy=2">here</a>', "[here](https://x.example/?a=1&copy=2)\n"),
        ('<a href="https://x.example/">https://x.example/</a>', "<https://x.example/>\n"),
        ("<ul><li>one<li>two</ul><ol><li>first<li>second</ol>", "- one\n- two\n\n1. first\n2. second\n"),
        ("Items:<br>- one<br>- two<br>1. three", "Items:\n- one\n- two\n1. three\n"),
        ("<table><tr><th>A<th>B<tr><td>1<td>2</table>", "| A | B |\n| --- | --- |\n| 1 | 2 |\n"),
        ("<pre>a\n  b</pre>", "    a\n      b\n"),
        ("just text", "just text\n"),
        ("a_b * c [d] #e", "a_b * c [d] #e\n"),
    ],
)
def test_html_reads_well_as_text(html: str, text: str) -> None:
    assert build_text_alternative(html) == text


def test_a_small_span_keeps_the_grid() -> None:
    html = "<table><tr><th colspan=2>Both<tr><td>1<td>2</table>"
    assert build_text_alternative(html).splitlines()[-1] == "| 1 | 2 |"


def test_what_a_person_does_not_see_is_left_out() -> None:
    html = (
        "<html><head><title>T</title><style>p{}</style></head><body><script>alert(1)</script><!--note-->"
        '<div style="display:none">hidden</div><p>Seen</p><img src="https://x.example/p.gif" width="1"></body></html>'
    )
    assert build_text_alternative(html) == "Seen\n"


def test_a_table_that_lays_out_the_page_is_read_in_order() -> None:
    html = "<table><tr><td><h1>Hi</h1><p>One</p></td><td><table><tr><td>Two</td></tr></table></td></tr></table><p>Bye"
    assert build_text_alternative(html) == "# Hi\n\nOne\n\nTwo\n\nBye\n"


@pytest.mark.parametrize("html", ["", " \n", "<p></p>", '<img src="cid:x">', "<!--", "<script>x</script>"])
def test_nothing_to_read_gives_nothing(html: str) -> None:
    assert build_text_alternative(html) == ""


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000,
        "<table><tr><td>" * 20_000,
        "</table>" * 100_000,
        f"<table><tr><td>{'x' * 100_000}</td></tr>{'<tr><td>a</td></tr>' * 5_000}</table>",
        "<table><tr>" + "<td>a" * 10_000 + "<tr><td>a" * 10_000,
        "<table>" + "<tr><td colspan=9999>a" * 4_000,
        "<table>" + "<tr><td COLSPAN = '&#57;999'>a" * 3_000,
        "<ul>" * 200 + "<li>x" * 20_000,
        '<p style="padding-left:90000000px">x',
        '<ol><li value="²">x',
        "<a href=" * 50_000,
        "<pre>" + " " * 500_000 + "x",
        "&#0;&#xD800;&#x110000;\0",
        "\\" * 100_000,
    ],
)
def test_hostile_html_costs_little(html: str) -> None:
    assert len(build_text_alternative(html)) <= 2 * len(html) + 10


def test_a_table_with_one_wide_row_is_not_padded_out_of_all_proportion() -> None:
    rows = "<tr><td>x</td></tr>" * 3000 + "<tr>" + "<td>y</td>" * 500 + "</tr>"
    html = f"<table>{rows}</table>"
    assert len(build_text_alternative(html)) <= 2 * len(html) + 2000


def test_html_beyond_all_reading_goes_without_a_text() -> None:
    """Nothing else runs while it is converted, and a megabyte of it can take a second."""
    assert build_text_alternative("<p>Hello</p>\n" * 100_000) == ""


def test_pictures_written_into_the_html_do_not_make_it_too_long() -> None:
    picture = f'<img src="data:image/png;base64,{"QUJD" * 500_000}">'
    assert build_text_alternative(f"{picture}<p>Hello</p><div style='background:url({picture[10:-2]})'>you</div>") == (
        "Hello\n\nyou\n"
    )
