"""Renders templates with Jinja in the `sandbox`. Errors name the file and the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

import jinja2
from jinja2 import BaseLoader, Environment, Template

from outspool.errors import TemplateError, brief
from outspool.services.templates.code import TemplateUse, compile_source, find_names
from outspool.services.templates.limits import Budget
from outspool.services.templates.sandbox import Sandbox

_SUBJECT = "subject"
_SHOWN = 160

Read = Callable[[str], str | None]
"""Returns the text of a file by its name; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """A template's variables: required ones, and optional ones, which it tests for or defaults."""

    required: frozenset[str]
    optional: frozenset[str]


def variables_of(subject: str, files: Iterable[str], read: Read) -> Names:
    """Return the variables of a subject and of files with their includes. Raises `TemplateError`.

    A name that is set anywhere among them is not the caller's.
    """
    with _explain(_SUBJECT):
        uses = [find_names(subject, _SUBJECT)]
    for file in files:
        with _explain(file):
            uses += _list_uses(file, read, set())
    used = frozenset[str]().union(*(use.used for use in uses))
    tested = frozenset[str]().union(*(use.tested for use in uses))
    known = frozenset[str]().union(*(use.known for use in uses))
    return Names(required=used - known - tested, optional=(used - known) & tested)


class Rendering:
    """One rendering of one template. It is CPU-bound: run it in a thread."""

    def __init__(self, read: Read, variables: Mapping[str, Any]) -> None:
        """`read` returns included and extended files."""
        self._read = read
        self._variables = variables
        self._budget = Budget()

    def file(self, name: str, *, is_html: bool) -> str:
        """Render a file. Raises `TemplateError`."""
        with _explain(name):
            return self._render(self._environment(is_html=is_html).get_template(name))

    def subject(self, subject: str) -> str:
        """Render the subject. Raises `TemplateError`."""
        environment = self._environment(is_html=False)
        with _explain(_SUBJECT):
            code = compile_source(subject, _SUBJECT, is_html=False)
            template = environment.template_class.from_code(environment, code, environment.make_globals(None))
            return self._render(template).strip()

    def _environment(self, *, is_html: bool) -> Environment:
        environment = Sandbox(self._budget, autoescape=is_html)
        environment.loader = _Loader(self._read, is_html=is_html)
        return environment

    def _render(self, template: Template) -> str:
        parts: list[str] = []
        for part in template.generate(self._variables):
            self._budget.make(len(part))
            parts.append(part)
        return "".join(parts)


class _Loader(BaseLoader):
    """Loads included and extended files."""

    def __init__(self, read: Read, *, is_html: bool) -> None:
        self._read = read
        self._is_html = is_html

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002 - Jinja's name
    ) -> Template:
        code = compile_source(_source(name, self._read), name, is_html=self._is_html)
        return environment.template_class.from_code(environment, code, globals if globals is not None else {})


def _source(file: str, read: Read) -> str:
    source = read(file)
    if source is None:
        raise jinja2.TemplateNotFound(file)
    return source


def _list_uses(file: str, read: Read, seen: set[str]) -> list[TemplateUse]:
    """Return the names in a file and its includes, except files in `seen`."""
    seen.add(file)
    use = find_names(_source(file, read), file)
    uses = [use]
    for other in use.included:
        if other not in seen:
            uses += _list_uses(other, read, seen)
    return uses


@contextmanager
def _explain(file: str) -> Iterator[None]:
    """Raise `TemplateError` with file and line for any error in a file."""
    try:
        yield
    except TemplateError as error:
        raise TemplateError(f"{_place(error, file)}: {error.message}", error.hint) from None
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(f"{error.name or file}, line {error.lineno}: {_sentence(error.message)}") from None
    except jinja2.TemplateNotFound as error:
        raise TemplateError(
            f"{_place(error, file)}: there is no file {brief(error.name)} in the template folder.",
            "Include files by their path in that folder, without .. or a leading /.",
        ) from None
    except RecursionError:
        raise TemplateError(f"{file}: it includes or calls itself without end.") from None
    except Exception as error:  # noqa: BLE001 - whatever a template raises is the template's error
        raise TemplateError(f"{_place(error, file)}: {_sentence(str(error))}") from None


def _place(error: Exception, file: str) -> str:
    """Return the file and line of a template error."""
    place = file
    for frame, line in walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if name == _SUBJECT or name.endswith((".html", ".txt")):
            place = f"{name}, line {line}"
    return place


def _sentence(words: str | None) -> str:
    """Return Jinja's message as one short sentence."""
    return brief(words or "unknown trouble", _SHOWN)[1:-1].removesuffix(".") + "."
