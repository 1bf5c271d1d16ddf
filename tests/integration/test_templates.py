"""Templates in real folders: rendering emails, and forbidden operations."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outspool.adapters.files.template_folder import MAX_FILE_BYTES, SHIPPED, TemplateFolder
from outspool.errors import InvalidArgument, TemplateError
from outspool.services.acceptance.preparation import render_request
from outspool.services.acceptance.validation import EmailRequest
from outspool.services.templates.catalog import MAX_VARIABLES, TemplateCard, Templates
from outspool.services.templates.limits import MAX_OUTPUT
from outspool.services.templates.style_inlining import MAX_ELEMENTS


class Folder:
    """A folder of templates, and what is shipped behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "templates"
        self.path.mkdir()
        self.templates = Templates([TemplateFolder(self.path), TemplateFolder(SHIPPED)])

    def put(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    async def written(self, template: str = "t", **variables: Any) -> EmailRequest:
        return await render_request(EmailRequest(template=template, variables=variables, subject="S"), self.templates)

    async def refused(self, template: str = "t", **variables: Any) -> str:
        """Fill in, expect a refusal, and return it as the caller sees it."""
        with pytest.raises(TemplateError) as refusal:
            await self.written(template, **variables)
        said = str(refusal.value)
        assert said.startswith("template_error: ")
        assert said.isprintable()
        assert len(said) < 500
        assert str(self.path) not in said
        return said

    async def card(self, name: str) -> TemplateCard:
        return next(card for card in await self.templates.list() if card.name == name)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


FRONT = """+++
subject = "Order {{ number }}"
description = "Says that an order has left."

[variables]
note = "none"
lines = []
address = {}
+++
"""


async def test_a_pair_with_front_matter_becomes_subject_text_and_html(folder: Folder) -> None:
    folder.put("order.html", FRONT + "<p>{{ number }}: {{ note }}</p>\n")
    folder.put("order.txt", "{% for line in lines %}\n{{ line.what }}\n{% endfor %}\n{{ number }}, {{ note }}\n")
    draft = await render_request(
        EmailRequest(
            to=["a@x.com"], template="order", variables={"number": 7, "lines": [{"what": "Ink"}, {"what": "Pen"}]}
        ),
        folder.templates,
    )
    assert draft.subject == "Order 7"
    assert draft.body == "Ink\nPen\n7, none\n"
    assert draft.html is not None
    assert "<p>7: none</p>" in draft.html
    assert (draft.to, draft.template, draft.variables) == (["a@x.com"], None, {})


async def test_a_subject_of_the_caller_stays_and_is_never_read_as_a_template(folder: Folder) -> None:
    folder.put("order.txt", FRONT + "x")
    draft = await render_request(
        EmailRequest(template="order", variables={"number": 7}, subject="{{ number }}"), folder.templates
    )
    assert draft.subject == "{{ number }}"


async def test_variables_are_data_and_never_read_as_a_template(folder: Folder) -> None:
    folder.put("t.txt", "{{ a }}")
    assert (await folder.written(a="{{ 7 * 7 }}{% include 't.txt' %}")).body == "{{ 7 * 7 }}{% include 't.txt' %}"


async def test_html_is_escaped_and_text_is_not(folder: Folder) -> None:
    folder.put("t.html", '<a title="{{ a }}">{{ a }}</a>')
    folder.put("t.txt", "{{ a }}")
    draft = await folder.written(a="<script>\"'&")
    assert draft.body == "<script>\"'&"
    assert draft.html is not None
    assert '<a title="<script>&quot;\'&amp;">&lt;script&gt;"\'&amp;</a>' in draft.html


async def test_what_an_html_file_includes_is_escaped_whatever_its_name(folder: Folder) -> None:
    folder.put("t.html", '{% include "_part.txt" %}')
    folder.put("_part.txt", "{{ a }}")
    assert "&lt;b&gt;" in str((await folder.written(a="<b>")).html)


async def test_styles_are_written_into_the_elements_and_media_rules_stay(folder: Folder) -> None:
    folder.put("t.html", "<style>p { color: red } @media (max-width: 9px) { p { color: blue } }</style><p>Hi</p>")
    html = (await folder.written()).html or ""
    assert '<p style="color: red;">Hi</p>' in html
    assert "@media (max-width: 9px)" in html


async def test_nothing_that_html_links_to_is_loaded(folder: Folder) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)

        def answer() -> None:
            try:
                connection, _ = server.accept()
            except TimeoutError:
                return
            with connection:
                asked.append(connection.recv(1000))

        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.css"
        secret = folder.path.parent / "secret.css"
        secret.write_text("p { color: red }")
        links = "".join(f'<link rel="stylesheet" href="{href}">' for href in (url, secret, f"file://{secret}"))
        folder.put("t.html", f'{links}<style>@import url("{url}"); p {{ background: url({url}) }}</style><p>Hi</p>')
        listener = threading.Thread(target=answer)
        listener.start()
        html = (await folder.written()).html or ""
        await asyncio.to_thread(listener.join)
    assert not asked
    assert "color: red" not in html


async def test_without_a_text_file_the_text_is_left_to_be_made_from_the_html(folder: Folder) -> None:
    folder.put("t.html", "<p>Hi</p>")
    assert (await folder.written()).body is None


async def test_a_template_of_the_operator_hides_both_files_of_a_shipped_one(folder: Folder) -> None:
    folder.put("report.html", "<p>Mine</p>")
    draft = await folder.written("report")
    assert "Mine" in str(draft.html)
    assert draft.body is None


async def test_a_changed_file_counts_at_once(folder: Folder) -> None:
    folder.put("t.txt", "one")
    assert (await folder.written()).body == "one"
    folder.put("t.txt", "two")
    assert (await folder.written()).body == "two"


async def test_each_template_is_listed_with_what_it_needs(folder: Folder) -> None:
    folder.put("order.html", FRONT + '{{ number }} {{ note }} {{ maybe|default("") }} {% if x is defined %}{% endif %}')
    folder.put(
        "order.txt", '{% extends "_base.txt" %}{% set mine = 1 %}{% block b %}{{ extra }}{{ mine }}{% endblock %}'
    )
    folder.put("_base.txt", "{% macro m(p) %}{{ p }}{% endmacro %}{% block b %}{% endblock %}{{ below }}{{ m(1) }}")
    assert await folder.card("order") == TemplateCard(
        name="order",
        description="Says that an order has left.",
        subject="Order {{ number }}",
        required=("below", "extra", "number"),
        defaults={"note": "none", "lines": [], "address": {}, "maybe": None, "x": None},
    )
    assert [card.name for card in await folder.templates.list()] == ["notification", "order", "report"]


async def test_a_broken_template_is_listed_with_its_trouble_and_hides_no_other(folder: Folder) -> None:
    folder.put("broken.html", "<p>\n{% if %}")
    assert (
        await folder.card("broken")
    ).trouble == "broken.html, line 2: Expected an expression, got 'end of statement block'."
    assert (await folder.card("report")).trouble == ""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, 'The template "order" needs the variable number.'),
        ({"number": None}, "needs the variable number."),
        ({"number": 1, "nmber": 2}, 'has no variable "nmber". Did you mean "number"?'),
        ({"number": 1, "zzz": 2}, 'has no variable "zzz". It has: number, '),
        ({"number": 1, "lines": "abc"}, 'The variable "lines" must be a list.'),
        ({"number": 1, "address": ["x"]}, 'The variable "address" must be an object.'),
        ({"number": 1, "lines": [{}]}, "order.txt, line 11: 'dict object' has no attribute 'what'."),
        ({"number": 1, "lines": [1]}, "order.txt, line 11: 'int object' has no attribute 'what'."),
        ({"number": [1, 2]}, "order.txt, line 10: A list or an object stands where text should."),
        ({"number": {"a": 1}}, "order.txt, line 10: A list or an object stands where text should."),
        ({"x" * 10_000: 1}, 'has no variable "xxxx'),
        ({"number": 1, "\r\n\x1b[31m": 1}, "has no variable"),
    ],
)
async def test_variables_that_do_not_go_with_the_template_are_named(
    folder: Folder, variables: Mapping[str, Any], said: str
) -> None:
    folder.put("order.txt", FRONT + "{{ number }}{% for line in lines %}\n{{ line.what }}{% endfor %}")
    assert said in await folder.refused("order", **variables)


async def test_variables_that_no_mail_could_hold_are_refused_before_anything_is_read(folder: Folder) -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for wrong in (float("nan"), {1, 2}, "\ud800", deep, "x" * MAX_VARIABLES):
        with pytest.raises(InvalidArgument, match="variables"):
            await folder.written("no-such", a=wrong)


async def test_null_stands_for_the_default_and_inside_others_for_nothing(folder: Folder) -> None:
    folder.put("order.txt", FRONT + "{{ number }}{{ note }}{% for line in lines %}[{{ line }}]{% endfor %}")
    assert (await folder.written("order", number=1, note=None, lines=[None, 2])).body == "1none[][2]"


async def test_what_an_object_of_the_caller_holds_comes_before_its_methods(folder: Folder) -> None:
    folder.put("t.txt", "{{ a.items }} {{ a.get }} {{ a.title }}")
    assert (await folder.written(a={"items": 1, "get": 2, "title": 3})).body == "1 2 3"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("reprot", 'There is no template "reprot". Did you mean "report"?'),
        ("zzz", "Use list_templates to see them."),
        ("_layout", 'There is no template "_layout".'),
        ("report.html", 'There is no template "report.html".'),
        ("../t", 'There is no template "../t".'),
        ("/etc/passwd", "There is no template"),
        ("", "There is no template"),
        ("x" * 100_000, "There is no template"),
        ("a\x00b", "There is no template"),
    ],
)
async def test_an_unknown_template_is_refused_with_the_nearest(folder: Folder, name: str, said: str) -> None:
    assert said in await folder.refused(name)


async def test_a_template_excludes_a_body_and_variables_need_a_template(folder: Folder) -> None:
    for draft in (
        EmailRequest(template="report", body="x"),
        EmailRequest(template="report", html=""),
        EmailRequest(variables={"a": 1}),
    ):
        with pytest.raises(InvalidArgument):
            await render_request(draft, folder.templates)
    plain = EmailRequest(body="x")
    assert await render_request(plain, folder.templates) is plain


async def test_a_template_without_a_subject_asks_for_one(folder: Folder) -> None:
    folder.put("t.txt", "x")
    with pytest.raises(TemplateError, match=r'The template "t" has no subject\. Give `subject`'):
        await render_request(EmailRequest(template="t"), folder.templates)


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ('subjct = "x"', 'The front matter of "t.txt" holds "subjct". Known are subject, description, variables.'),
        ("subject = 7", 'In the front matter of "t.txt", subject has the wrong type.'),
        ("subject = ", 'The front matter of "t.txt" cannot be read'),
        ("[variables]\nday = 2026-11-22", 'The front matter of "t.txt" cannot be read'),
        ("[variables]\nx = nan", 'The front matter of "t.txt" cannot be read'),
        ("x = " + "[" * 5000, 'The front matter of "t.txt" cannot be read'),
        ('subject = "{{ x"', "subject, line 1: "),
    ],
)
async def test_a_front_matter_that_is_wrong_is_said_to_be(folder: Folder, front: str, said: str) -> None:
    folder.put("t.txt", f"+++\n{front}\n+++\nHi")
    assert said in await folder.refused()


async def test_a_front_matter_without_end_and_one_in_both_files_are_refused(folder: Folder) -> None:
    folder.put("t.txt", "+++\nsubject = 'x'\nHi")
    assert 'The front matter of "t.txt" has no end.' in await folder.refused()
    folder.put("t.txt", "+++\n+++\nHi")
    folder.put("t.html", "+++\n+++\nHi")
    assert "Both files" in await folder.refused()


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ a['__class__'] }}",
    "{{ a.__class__.__mro__[1].__subclasses__() }}",
    "{{ a.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__globals__ }}",
    "{{ dict.__subclasses__() }}",
    "{{ dict.mro() }}",
    "{{ dict.fromkeys([1]) }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ joiner }}",
    "{{ namespace(x=1) }}",
    "{{ '{0.__class__}'.format(a) }}",
    "{{ '{0.__class__}'.format_map({}) }}",
    "{{ a|attr('__class__') }}",
    "{{ a|e|attr('format') }}",
    "{{ [a]|map('attr', '__class__')|list }}",
    "{{ [a]|sum(attribute='__class__') }}",
    "{{ [a, a]|sort(attribute='__class__') }}",
    "{{ [a]|map(attribute='__class__')|join }}",
    "{% for x in [a]|groupby('__class__') %}{{ x.grouper }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__init__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% set x = [] %}{{ x.append(1) }}",
    "{{ {}.update(a=1) }}",
    "{{ a.encode() }}",
    "{{ a.upper.__self__ }}",
    "{{ a.upper }}",
    "{{ a() }}",
    "{% do a %}",
    "{{ config }}",
    "{{ request }}",
    "{% import 'os' as os %}",
    "{% autoescape false %}{{ a }}{% endautoescape %}",
    "{{ a|safe }}",
]


@pytest.mark.parametrize("source", ESCAPES)
@pytest.mark.parametrize("ending", ["txt", "html"])
async def test_a_template_reaches_nothing_beyond_its_variables(folder: Folder, source: str, ending: str) -> None:
    folder.put(f"t.{ending}", source + "{% if a %}{% endif %}")
    said = await folder.refused(a="x")
    assert "0x" not in said
    assert "/lib/" not in said


ENDLESS = [
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(1000000000) %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% set x = range(99999)|list|sort %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}",
    "{% include 't.txt' %}",
    "{% extends 't.txt' %}",
    "{% import 't.txt' as t %}{{ t }}",
]


@pytest.mark.parametrize("source", ENDLESS)
async def test_a_template_without_end_is_stopped(folder: Folder, source: str) -> None:
    folder.put("t.txt", source)
    assert await folder.refused()


HUGE = [
    "{{ 'x' * 10000000000 }}",
    "{{ 10000000000 * 'x' }}",
    "{{ [1] * 10000000000 }}",
    "{{ 'x' * big }}",
    "{{ 9 ** 9 ** 9 }}",
    "{% set x = 2 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ '%*d' % (10000000000, 1) }}",
    "{{ '%.10000000000f' % 1 }}",
    "{{ '%(a)10000000000d' % {'a': 1} }}",
    "{{ '%10000000000d'|format(1) }}",
    "{{ ('%(a)s' * 1000) % {'a': long} }}",
    "{{ '{:>10000000000}'.format(1) }}",
    "{{ 'x'|center(10000000000) }}",
    "{{ 'x'.center(10000000000) }}",
    "{{ 'x'.ljust(10000000000) }}",
    "{{ 'x'.zfill(10000000000) }}",
    "{{ '\\t'.expandtabs(10000000000) }}",
    "{{ 'x'|indent(10000000000) }}",
    "{{ [1]|batch(10000000000, 0)|list }}",
    "{{ [1]|slice(10000000000)|list }}",
    "{{ lipsum(10000000) }}",
    "{{ range(99999)|join(long) }}",
    "{{ long|replace('', long) }}",
    "{{ long.replace('', long) }}",
    "{{ long.join(long) }}",
    "{{ long|map('replace', '', long)|join }}",
    "{{ 7|round(-10000000000) }}",
    "{{ [[1]]|sum(start=[]) }}",
    "{% set x = long %}" + "{% set x = x ~ x %}" * 40,
    "{% set x = long %}" + "{% set x = x + x %}" * 40,
    "{% set x = [1] %}" + "{% set x = x + x %}" * 40,
    "{% set x = long %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "{% set x = [1] %}" + "{% set x = [x, x] %}" * 40 + "{{ x }}",
    "{{ long|list|select('in', long|list)|list }}",
    "{% for i in range(99999) %}{{ long }}{% endfor %}",
    "{% set x %}{% for i in range(99999) %}{{ long }}{% endfor %}{% endset %}",
    "{% macro m() %}{% for i in range(99999) %}{{ long }}{% endfor %}{% endmacro %}{{ m() }}",
    "{% for i in range(99999) %}" + "static" * 20 + "{% endfor %}",
    "{% filter upper %}{% for i in range(99999) %}{{ long }}{% endfor %}{% endfilter %}",
]


@pytest.mark.parametrize("source", HUGE)
async def test_a_template_that_makes_much_out_of_little_is_refused(folder: Folder, source: str) -> None:
    folder.put("t.txt", source + "{% if long and big %}{% endif %}")
    assert await folder.refused(long="x" * 200_000, big=10**10)


async def test_ordinary_work_stays_within_the_limits(folder: Folder) -> None:
    folder.put(
        "t.html",
        "<style>td { color: red }</style><table>{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>"
        '{% endfor %}</tr>{% endfor %}</table>{{ "%.2f"|format(total) }} {{ "-" * 40 }} '
        '{{ rows|map("first")|join(", ") }}',
    )
    draft = await folder.written(rows=[[f"r{i}", i, i / 7, "x" * 20] for i in range(2000)], total=3.14159)
    assert str(draft.html).count("<td style=") == 8000
    assert "3.14 " in str(draft.html)


async def test_html_nested_beyond_all_reason_is_refused_and_crashes_nothing(folder: Folder) -> None:
    folder.put("t.html", "{% for x in rows %}<div>{% endfor %}{% for x in rows %}</div>{% endfor %}")
    assert (await folder.written(rows=[0] * 15_000)).html
    assert f"more than {MAX_ELEMENTS:,} elements" in await folder.refused(rows=[0] * (MAX_ELEMENTS + 1))


async def test_html_that_is_left_open_again_and_again_is_refused(folder: Folder) -> None:
    folder.put("t.html", '{% for x in rows %}<p><b id="{{ loop.index }}">{{ x }}{% endfor %}')
    assert (await folder.written(rows=["x"] * 20)).html
    assert "leaves elements open." in await folder.refused(rows=[0] * 10_000)


async def test_a_rendering_holds_up_nobody(folder: Folder) -> None:
    folder.put("t.txt", ENDLESS[2])
    slow = asyncio.create_task(folder.refused())
    beats = 0
    while not slow.done():
        await asyncio.sleep(0.02)
        beats += 1
    assert "It takes more than 1 s" in await slow
    assert beats > 10


OUTSIDE = ["../secret.txt", "/etc/passwd", "./t.txt", "a/../../secret.txt", "..", "~/x.txt", "secret.txt", "\x00.txt"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("tag", ["{% include which %}", "{% extends which %}", "{% import which as w %}"])
async def test_nothing_outside_the_folder_is_included(folder: Folder, name: str, tag: str) -> None:
    (folder.path.parent / "secret.txt").write_text("secret")
    folder.put("t.txt", tag)
    said = await folder.refused(which=name)
    assert "there is no file" in said
    assert "secret\n" not in said


async def test_no_link_leads_out_of_the_folder(folder: Folder) -> None:
    secret = folder.path.parent / "secret.txt"
    secret.write_text("secret")
    (folder.path / "link.txt").symlink_to(secret)
    (folder.path / "part").symlink_to(folder.path.parent)
    assert 'The template file "link.txt" is a link out of the template folder.' in await folder.refused("link")
    folder.put("t.txt", '{% include "part/secret.txt" %}')
    assert 'The template file "part/secret.txt" is a link out' in await folder.refused()


async def test_a_link_within_the_folder_and_a_folder_that_is_a_link_are_fine(folder: Folder, tmp_path: Path) -> None:
    folder.put("t.txt", "Hi")
    (folder.path / "same.txt").symlink_to(folder.path / "t.txt")
    assert (await folder.written("same")).body == "Hi"
    (tmp_path / "link").symlink_to(folder.path)
    through = Templates([TemplateFolder(tmp_path / "link")])
    assert (await render_request(EmailRequest(template="t", subject="S"), through)).body == "Hi"


async def test_what_is_no_text_file_is_no_template(folder: Folder) -> None:
    os.mkfifo(folder.path / "fifo.txt")
    assert "There is no template" in await folder.refused("fifo")
    (folder.path / "folder.txt").mkdir()
    assert 'The template file "folder.txt" cannot be read' in await folder.refused("folder")
    (folder.path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    assert 'The template file "latin.txt" is not UTF-8 text.' in await folder.refused("latin")
    (folder.path / "large.txt").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    assert 'The template file "large.txt" is larger than' in await folder.refused("large")
    troubles = {card.name: bool(card.trouble) for card in await folder.templates.list()}
    assert troubles == {
        "fifo": True,
        "folder": True,
        "latin": True,
        "large": True,
        "notification": False,
        "report": False,
    }


async def test_a_byte_order_mark_and_crlf_are_no_matter(folder: Folder) -> None:
    (folder.path / "t.txt").write_bytes(b"\xef\xbb\xbf+++\r\nsubject = 'S'\r\n+++\r\nHi\r\n")
    draft = await render_request(EmailRequest(template="t"), folder.templates)
    assert (draft.subject, draft.body) == ("S", "Hi\n")


async def test_a_folder_that_does_not_exist_holds_nothing(tmp_path: Path) -> None:
    assert await Templates([TemplateFolder(tmp_path / "none")]).list() == []


REPORT: Mapping[str, Any] = {
    "title": "Weekly <sales>",
    "summary": "First line\nsecond line\n\nNext paragraph & more",
    "period": "Week 47",
    "figures": [{"label": "Orders", "value": 12, "change": "+8 %"}, {"label": "Returns", "value": None}],
    "columns": ["Region", "Orders", "Share"],
    "rows": [["North", 7, "58 %"], ["South", 5, None]],
    "notes": "Without VAT.",
    "button_label": "Open",
    "button_url": "https://example.com/?a=1&b=2",
    "footer": "The desk",
}
NOTIFICATION: Mapping[str, Any] = {
    "title": "Backup <failed>",
    "message": "One.\n\nTwo.",
    "details": [{"label": "Host", "value": "db-2"}],
    "button_url": "https://example.com/log",
    "tone": "error",
}


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("report", REPORT),
        ("report", {"title": "T", "summary": "S"}),
        ("notification", NOTIFICATION),
        ("notification", {"title": "T", "message": "M"}),
        ("notification", {"title": 7, "message": 8.5, "footer": True}),
    ],
)
async def test_a_shipped_template_is_whole_and_safe_html(
    folder: Folder, name: str, variables: Mapping[str, Any]
) -> None:
    draft = await render_request(EmailRequest(template=name, variables=variables), folder.templates)
    html, text = draft.html or "", draft.body or ""
    assert html.startswith("<!DOCTYPE html>")
    assert "@media (max-width: 620px)" in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert "<sales>" not in html
    assert "<failed>" not in html
    assert "src=" not in html
    assert "@import" not in html
    assert "None" not in html + text
    assert "{{" not in html + text
    assert len(html) < 20_000
    assert str(variables["title"]) in text
    assert str(variables["title"]) in draft.subject


async def test_the_shipped_report_shows_everything_in_both_parts(folder: Folder) -> None:
    draft = await render_request(EmailRequest(template="report", variables=REPORT), folder.templates)
    for shown in ("Week 47", "second line", "Orders", "+8 %", "North", "58 %", "Without VAT.", "Open", "The desk"):
        assert shown in str(draft.html)
        assert shown in str(draft.body)
    assert 'href="https://example.com/?a=1&amp;b=2"' in str(draft.html)
    assert "https://example.com/?a=1&b=2" in str(draft.body)
    assert "\n\n\n" not in str(draft.body)


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " vbscript:x", "//example.com", "x", 7])
async def test_a_button_leads_to_the_web_or_nowhere(folder: Folder, url: Any) -> None:
    said = await folder.refused("notification", title="T", message="M", button_url=url)
    assert "is no address to link to. Give one that begins with https://." in said


async def test_a_subject_made_of_a_hostile_variable_is_still_only_text(folder: Folder) -> None:
    draft = await render_request(
        EmailRequest(template="notification", variables={"title": "Hi\r\nBcc: eve@example.com", "message": "M"}),
        folder.templates,
    )
    assert draft.subject == "Hi\r\nBcc: eve@example.com"  # which the intake refuses, as every subject


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.sampled_from(["report", "notification"]),
    st.dictionaries(st.sampled_from(sorted({*REPORT, *NOTIFICATION, "x"})), _JSON),
    st.booleans(),
)
def test_whatever_the_variables_are_the_shipped_templates_are_filled_in_or_refused(
    name: str, given_: dict[str, Any], is_whole: bool
) -> None:
    templates = Templates([TemplateFolder(SHIPPED)])
    variables = {**({"title": "T", "summary": "S", "message": "M"} if is_whole else {}), **given_}
    try:
        draft = asyncio.run(render_request(EmailRequest(template=name, variables=variables), templates))
    except (TemplateError, InvalidArgument) as refusal:
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 500
    else:
        assert draft.html is not None
        assert len(draft.html) < MAX_OUTPUT
        assert json.dumps(draft.subject)
