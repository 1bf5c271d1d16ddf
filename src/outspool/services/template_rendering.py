"""Fills in a template: Jinja, in the sandbox of `outspool.services.template_sandbox`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

import jinja2
from jinja2 import BaseLoader, Environment, Template, meta, nodes
from jinja2.visitor import NodeTransformer

from outspool.errors import TemplateError, brief
from outspool.services.template_limits import CONCATENATION, TURNS, Meter
from outspool.services.template_sandbox import GLOBALS, Sandbox

_SUBJECT = "subject"
_SHOWN = 160
_ASKING = frozenset({"d", "default", "defined", "undefined"})

Read = Callable[[str], str | None]
"""From the name of a file to its text, None when there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The variables of a template: those it cannot do without, and those it asks after or falls back from."""

    required: frozenset[str]
    optional: frozenset[str]


class Rendering:
    """One filling-in of one template. It computes; run it in a thread."""

    def __init__(self, read: Read) -> None:
        """`read` finds what a template includes or extends."""
        self._read = read
        self._meter = Meter()

    def names(self, subject: str, files: Iterable[str]) -> Names:
        """Return the variables of a subject, of files, and of what those include. Raises `TemplateError`.

        A name that is set anywhere among them is none of the caller's.
        """
        found = _Found()
        with _explained(_SUBJECT):
            found.look_into(self._parsed(subject, _SUBJECT))
        for file in files:
            with _explained(file):
                self._look_into_file(file, found, set())
        return found.names()

    def file(self, name: str, variables: Mapping[str, Any], *, is_html: bool) -> str:
        """Return the file filled in. Raises `TemplateError`."""
        environment = self._environment(is_html=is_html)
        with _explained(name):
            return self._filled(environment.get_template(name), variables)

    def subject(self, subject: str, variables: Mapping[str, Any]) -> str:
        """Return the subject filled in. Raises `TemplateError`."""
        environment = self._environment(is_html=False)
        with _explained(_SUBJECT):
            template = _compiled(environment, subject, _SUBJECT, environment.make_globals(None))
            return self._filled(template, variables).strip()

    def _environment(self, *, is_html: bool) -> Environment:
        environment = Sandbox(self._meter, autoescape=is_html)
        environment.loader = _Loader(self._read)
        return environment

    def _filled(self, template: Template, variables: Mapping[str, Any]) -> str:
        parts: list[str] = []
        for part in template.generate(variables):
            self._meter.make(len(part))
            parts.append(part)
        return "".join(parts)

    def _parsed(self, source: str, name: str) -> nodes.Template:
        return self._environment(is_html=True).parse(source, name)

    def _look_into_file(self, file: str, found: _Found, seen: set[str]) -> None:
        seen.add(file)
        source = self._read(file)
        if source is None:
            raise jinja2.TemplateNotFound(file)
        tree = self._parsed(source, file)
        found.look_into(tree)
        for other in meta.find_referenced_templates(tree):
            if other is not None and other not in seen:
                self._look_into_file(other, found, seen)


class _Found:
    """Names of variables found in parsed templates: all that are used, those asked after, and those set there."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._asked_after: set[str] = set()
        self._known: set[str] = set(GLOBALS)

    def look_into(self, tree: nodes.Template) -> None:
        """Add the names in `tree`."""
        self._used |= meta.find_undeclared_variables(tree)
        self._known |= {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
        self._known |= {node.name for node in tree.find_all(nodes.Macro)}
        for node in tree.find_all((nodes.Filter, nodes.Test)):
            if node.name in _ASKING and isinstance(node.node, nodes.Name):
                self._asked_after.add(node.node.name)

    def names(self) -> Names:
        """Return those that the caller is to give."""
        open_ = self._used - self._known
        return Names(required=frozenset(open_ - self._asked_after), optional=frozenset(open_ & self._asked_after))


class _Loader(BaseLoader):
    """Finds what a template includes, and counts the turns of its loops."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def load(
        self,
        environment: Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002
    ) -> Template:
        source = self._read(name)
        if source is None:
            raise jinja2.TemplateNotFound(name)
        return _compiled(environment, source, name, globals if globals is not None else {})


@contextmanager
def _explained(file: str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into one `TemplateError` that says where."""
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
    except Exception as error:  # noqa: BLE001 - a template may go wrong in any way, and each is its own fault
        raise TemplateError(f"{_place(error, file)}: {_sentence(str(error))}") from None


def _place(error: Exception, file: str) -> str:
    """Return the file and the line of a template that an error comes from."""
    place = file
    for frame, line in walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if name == _SUBJECT or name.endswith((".html", ".txt")):
            place = f"{name}, line {line}"
    return place


def _sentence(words: str | None) -> str:
    """Return what Jinja says, short and on one line, as a sentence."""
    return brief(words or "unknown trouble", _SHOWN)[1:-1].removesuffix(".") + "."


class _Counted(NodeTransformer):
    """Leads what a meter must see through a filter that shows it."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - so the base class finds it
        """Count each turn."""
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, TURNS, [], [], None, None, lineno=node.iter.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as above
        """Count what is joined."""
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, CONCATENATION, [], [], None, None, lineno=node.lineno)


def _compiled(environment: Environment, source: str, name: str, globals_: MutableMapping[str, Any]) -> Template:
    tree = environment.parse(source, name)
    if unescaped := tree.find(nodes.EvalContextModifier):
        raise jinja2.TemplateSyntaxError("Escaping cannot be turned off.", unescaped.lineno, name)
    code = environment.compile(_Counted().visit(tree), name, name)
    return environment.template_class.from_code(environment, code, globals_)
