"""The Jinja environment of templates: only their variables can be reached, and nothing can be changed.

Jinja's own sandbox forbids attributes that begin with an underscore and methods that modify. Beyond that, only the
functions and methods listed here can be called, so that a security hole in any other does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Undefined
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

from outspool.errors import TemplateError, brief
from outspool.services.templates.limits import Budget, filters, values_of

GLOBALS: Mapping[str, Any] = {"range": safe_range, "dict": dict}

_OF_TEMPLATES = (Macro, LoopContext, BlockReference)
_OF_VALUES = (str, int, float, list, tuple, dict)
_NO_TEXT = (list, tuple, dict)
_METHODS = frozenset(
    {
        *("capitalize", "casefold", "count", "endswith", "find", "get", "isalnum", "isalpha", "isdigit", "items"),
        *("keys", "lower", "lstrip", "removeprefix", "removesuffix", "rstrip", "split", "splitlines", "startswith"),
        *("strip", "title", "upper", "values"),
    }
)
"""Methods allowed on text, numbers, lists and objects; none makes a large result from a small input."""

_UNCOUNTED_TEST = "in"
"""The test ``in`` searches a list for each item of another in one call: nested lists take hours."""


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for one rendering within its budget, `budget`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, budget: Budget, *, autoescape: bool) -> None:
        """Allow only the functions, filters and methods that email templates need."""
        super().__init__(
            autoescape=autoescape,
            undefined=StrictUndefined,
            finalize=self._finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            cache_size=0,
        )
        self.budget = budget
        self.globals = dict(GLOBALS)
        self.filters = filters(budget)
        del self.tests[_UNCOUNTED_TEST]

    def _finalize(self, value: Any) -> Any:
        """Return the output for `value`: nothing for None."""
        if value is None:
            return ""
        if isinstance(value, _NO_TEXT):
            raise TemplateError("A list or an object stands where text should.", "Write what is in it, one by one.")
        if callable(value) and not isinstance(value, Undefined):
            raise TemplateError("A function stands where text should.", 'Call it, or write value["name"].')
        text = value if isinstance(value, str) else str(value)
        self.budget.make(len(text))
        return text

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Resolve ``obj.attribute``; an object's keys come before its methods."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_callable(self, obj: Any) -> bool:
        """Tell whether templates may call `obj`."""
        owner = getattr(obj, "__self__", obj)
        if isinstance(owner, _OF_TEMPLATES) or any(obj is known for known in GLOBALS.values()):
            return True
        return isinstance(owner, _OF_VALUES) and getattr(obj, "__name__", "") in _METHODS

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call `obj` if allowed, and count it."""
        self.budget.turn()
        if not isinstance(obj, Undefined) and not self.is_safe_callable(obj):
            name = getattr(obj, "__name__", type(obj).__name__)
            raise TemplateError(f"{brief(name)} cannot be called in a template.")
        return context.call(obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right``, and count it."""
        if operator == "**":
            raise TemplateError("The operator ** is not available in templates.")
        if operator == "+":
            self.budget.sum(left, right)
        elif operator == "*":
            self.budget.product(left, right)
        elif operator == "%" and isinstance(left, str):
            self.budget.formatting(left, values_of(right))
        return super().call_binop(context, operator, left, right)
