"""Hostile templates and variables: nothing else can be read, and no rendering runs without end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.composing import text_of
from support.front import Front

pytestmark = pytest.mark.asyncio(loop_scope="session")

Write = Callable[..., str]


@pytest.fixture
def write(templates: Path) -> Iterator[Write]:
    """Return what writes a template and gives its name; all are gone after the test."""
    written: list[Path] = []

    def put(source: str, ending: str = "txt") -> str:
        path = templates / f"t{len(written)}.{ending}"
        path.write_text(source, encoding="utf-8")
        written.append(path)
        return path.stem

    yield put
    for path in written:
        path.unlink()


def filled(template: object, **variables: Any) -> dict[str, Any]:
    """Return the arguments of an email from a template."""
    return {"body": None, "template": template, "variables": variables}


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
    "{{ dict.fromkeys([1]) }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner }}{{ namespace(x=1) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(a) }}",
    "{{ '{0.__class__}'.format_map({}) }}",
    "{{ a|attr('__class__') }}",
    "{{ a|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ a['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{{ [a]|map(attribute='__class__')|join }}",
    "{{ [a]|sum(attribute='__class__') }}",
    "{% for x in [a]|groupby('__class__') %}{{ x.grouper }}{% endfor %}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% set x = [] %}{{ x.append(1) }}",
    "{{ {}.update(a=1) }}",
    "{{ a.upper.__self__ }}",
    "{{ a() }}",
    "{% import 'os' as os %}",
    "{{ config }}{{ request }}{{ environ }}",
    "{% autoescape false %}{{ a }}{% endautoescape %}",
    "{{ a|safe }}",
    "{{ a|pprint }}{{ a|tojson }}",
]
ENDLESS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}",
    "{% include 't4.txt' %}",
    "{% extends 't5.txt' %}",
    "{% import 't6.txt' as t %}{{ t }}",
]
HUGE = [
    "{{ 'x' * 10000000000 }}",
    "{{ [1] * 10000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{% set x = 2 %}" + "{% set x = x * x %}" * 40 + "{{ x }}",
    "{{ '%10000000000d' % 1 }}",
    "{{ '%*d' % (10000000000, 1) }}",
    "{{ '{:>10000000000}'.format(1) }}",
    "{{ 'x'|center(10000000000) }}",
    "{{ 'x'.ljust(10000000000) }}",
    "{{ 'x'|indent(10000000000) }}",
    "{{ [1]|slice(10000000000)|list }}",
    "{{ lipsum(10000000) }}",
    "{{ a|replace('', a) }}",
    "{{ range(99999)|join(a) }}",
    "{% set x = a %}" + "{% set x = x ~ x %}" * 40,
    "{% set x = [1] %}" + "{% set x = x + x %}" * 40,
    "{% for i in range(99999) %}{{ a }}{% endfor %}",
]
OUTSIDE = [
    "../secret.txt",
    "/etc/passwd",
    "./x.txt",
    "a/../../secret.txt",
    "..",
    "~/x.txt",
    "\\x00.txt",
    "file:///etc/passwd",
]


async def test_a_template_reaches_nothing_beyond_its_variables(face: Front, write: Write) -> None:
    names = [write(source + "{% if a %}{% endif %}", ending) for source in ESCAPES for ending in ("txt", "html")]
    await face.refuses(*((filled(name, a="x"), "template_error: ") for name in names))


async def test_a_template_without_end_is_stopped_and_nobody_waits_for_it(face: Front, write: Write) -> None:
    names = [write(source) for source in ENDLESS]
    async with asyncio.timeout(30):
        said, _ = await asyncio.gather(face.attempt(**filled(names[0])), face.delivered({"subject": "meanwhile"}))
        assert "takes more than 1 s" in str(said)
        await face.refuses(*((filled(name), "template_error: ") for name in names[1:]))


async def test_a_template_that_makes_much_out_of_little_is_refused(face: Front, write: Write) -> None:
    names = [write(source + "{% if a %}{% endif %}") for source in HUGE]
    await face.refuses(*((filled(name, a="x" * 200_000), "template_error: ") for name in names))
    page = write("{% for i in range(30) %}{{ a }}{% endfor %}", "html")
    await face.refuses((filled(page, a="é" * 60_000), ""))


async def test_nothing_outside_the_folder_is_included(face: Front, write: Write, templates: Path) -> None:
    (templates.parent / "secret.txt").write_text("the secret")
    (templates / "link.txt").symlink_to(templates.parent / "secret.txt")
    (templates / "part").symlink_to(templates.parent)
    try:
        tags = ("include", "extends", "import")
        fixed = [write(f'{{% {tag} "{name}" {"as x " * (tag == "import")}%}}') for tag in tags for name in OUTSIDE]
        await face.refuses(*((filled(name), "there is no file") for name in fixed))
        given = write("{% include which %}")
        await face.refuses(*((filled(given, which=name), "there is no file") for name in OUTSIDE))
        linked = [write(f'{{% include "{name}" %}}') for name in ("link.txt", "part/secret.txt")]
        await face.refuses(*((filled(name), "link out of the template folder") for name in [*linked, "link"]))
    finally:
        (templates / "link.txt").unlink()
        (templates / "part").unlink()
        (templates.parent / "secret.txt").unlink()


async def test_a_name_that_is_no_template_is_refused(face: Front) -> None:
    names = [
        "../t",
        "/etc/passwd",
        "report.html",
        "report/../report",
        " ",
        "a\0b",
        "a\r\nb",
        "x" * 10_000,
        "\ud800",
        "_x",
    ]
    await face.refuses(*((filled(name), "template_error: ") for name in names))
    await face.refuses(
        (filled(7), "must be a string"),
        (filled("report", title="x"), "needs the variable"),
        (filled("report", title="x", summary="y", __class__="z"), 'no variable "__class__"'),
        (filled("report") | {"body": "x"}, "beside body or html"),
        ({"variables": {"a": 1}}, "without a template"),
    )


BAD_VALUES: Mapping[str, Any] = {
    "a NUL": "a\0b",
    "half a character": "\ud800",
    "an escape": "\x1b[31m",
}


async def test_a_variable_that_no_email_can_hold_is_refused(face: Front, write: Write) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    name = write("{{ a }}")
    subject = write('+++\nsubject = "About {{ a }}"\n+++\nHi.')
    untitled = filled(subject) | {"subject": None}
    await face.refuses(
        *((filled(name, a=value), "") for value in BAD_VALUES.values()),
        *((untitled | {"variables": {"a": value}}, "") for value in BAD_VALUES.values()),
        *(
            (filled(subject, a=value) | {"subject": None}, "subject holds")
            for value in ("x\r\nBcc: e@x.com", "x\ny", "=?utf-8?q?=0A?=")
        ),
        (filled(name, a="x" * 1_000_001), "are the most"),
        (filled(name, a=float("nan")), ""),
        (filled(name, a=float("inf")), ""),
        (filled(name, a=b"bytes"), ""),
        (filled(name, a=deep), ""),
        (filled(name, a={"x": 1}), "where text should"),
    )


VALUES = [
    "{{ ''.__class__ }}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{{ config }}{# x #}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</p></body></html>",
    "&lt;b&gt;&amp;",
    "javascript:alert(1)",
    "+++\nsubject = 'x'\n+++",
    ".\r\n.\r\n",
    "\u202egnp.exe",
    "--=_alternative",
    "' OR 1=1 --",
    "${7*7}#{7*7}<%= 7*7 %>",
]


async def test_a_variable_is_data_and_never_becomes_markup_or_a_template(face: Front, write: Write) -> None:
    text = write("<{{ a }}>")
    page = write('<p title="{{ a }}">{{ a }}</p>', "html")
    titled = write("+++\nsubject = '[{{ a }}]'\n+++\nHi.")
    lines = [value for value in VALUES if value.isprintable()]
    mails = await face.delivered(
        *(filled(text, a=value) for value in VALUES),
        *(filled(page, a=value) for value in VALUES),
        *(filled(titled, a=value) | {"subject": None} for value in lines),
    )
    for value, mail in zip(VALUES, mails[: len(VALUES)], strict=True):
        assert text_of(mail.parsed, "plain") == f"<{value}>".replace("\r\n", "\n")
    assert [mail.parsed["Subject"] for mail in mails[2 * len(VALUES) :]] == [f"[{line}]" for line in lines]
    for mail in mails[len(VALUES) : 2 * len(VALUES)]:
        reader = TagReader()
        reader.feed(text_of(mail.parsed, "html"))
        assert sorted(reader.tags) == ["body", "head", "html", "p"]


class TagReader(HTMLParser):
    """Notes the elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
