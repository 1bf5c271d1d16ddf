"""Parses and compiles template sources, cached by their content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

import jinja2
from jinja2 import meta, nodes
from jinja2.visitor import NodeTransformer

from outspool.services.templates.limits import CONCATENATION, TURNS, Budget
from outspool.services.templates.sandbox import GLOBALS, Sandbox

_CACHE_SIZE = 64
"""Number of sources in the cache."""

_TESTS = frozenset({"d", "default", "defined", "undefined"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateUse:
    """The names in one source: used, tested or defaulted, set, and included."""

    used: frozenset[str]
    tested: frozenset[str]
    known: frozenset[str]
    included: tuple[str, ...]


@lru_cache(_CACHE_SIZE)
def find_names(source: str, name: str) -> TemplateUse:
    """Return the names in `source`. Raises `jinja2.TemplateError`."""
    tree = Sandbox(Budget(), autoescape=True).parse(source, name)
    tests = (node for node in tree.find_all((nodes.Filter, nodes.Test)) if node.name in _TESTS)
    stored = {node.name for node in tree.find_all(nodes.Name) if node.ctx == "store"}
    macros = {node.name for node in tree.find_all(nodes.Macro)}
    return TemplateUse(
        used=frozenset(meta.find_undeclared_variables(tree)),
        tested=frozenset(node.node.name for node in tests if isinstance(node.node, nodes.Name)),
        known=frozenset(stored | macros | GLOBALS.keys()),
        included=tuple(dict.fromkeys(other for other in meta.find_referenced_templates(tree) if other is not None)),
    )


@lru_cache(_CACHE_SIZE)
def compile_source(source: str, name: str, *, is_html: bool) -> CodeType:
    """Compile `source` to run in a `Sandbox`, with escaping if `is_html`. Raises `jinja2.TemplateError`."""
    environment = Sandbox(Budget(), autoescape=is_html)
    tree = environment.parse(source, name)
    if unescaped := tree.find(nodes.EvalContextModifier):
        raise jinja2.TemplateSyntaxError("Escaping cannot be turned off.", unescaped.lineno, name)
    return environment.compile(_Counted().visit(tree), name, name)


class _Counted(NodeTransformer):
    """Wraps expressions in filters that count them against the budget."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - so the base class finds it
        """Count each iteration."""
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, TURNS, [], [], None, None, lineno=node.iter.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - as above
        """Count concatenations."""
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, CONCATENATION, [], [], None, None, lineno=node.lineno)
