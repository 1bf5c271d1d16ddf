"""Faults of settings in our own words: the variable and what it must be, never its value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo

_WHOLE = frozenset({"int_parsing", "int_type", "int_from_float", "int_parsing_size"})
_NUMBER = frozenset({"float_parsing", "float_type", "finite_number"})
_BOUND = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_TRUTH = frozenset({"bool_parsing", "bool_type"})


def explain_faults(error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[str]:
    """Return a clause for each variable that `error` is about. `fields` are the settings' own."""
    by_alias = {field.alias: field for field in fields.values()}
    found = error.errors(include_url=False, include_input=False)
    return [_explain(str(each["loc"][0]), each, by_alias.get(str(each["loc"][0]))) for each in found if each["loc"]]


def _explain(name: str, fault: Any, field: FieldInfo | None) -> str:
    kind = fault["type"]
    if kind in _TRUTH:
        return f"{name} must be true or false"
    if kind == "literal_error":
        return f"{name} must be {str(fault['ctx']['expected']).replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"{name} must begin with a letter or digit, and have letters, digits and . _ @ + - only, 100 at most"
    if kind in _WHOLE | _NUMBER | _BOUND and field is not None:
        number = "a whole number" if "int" in str(field.annotation) else "a number"
        return f"{name} must be {number}{_describe_bounds(field)}"
    return f"{name} cannot be read"


def _describe_bounds(field: FieldInfo) -> str:
    """Return the range of a number in words, empty if it has none."""
    bounds = {type(bound).__name__: bound for bound in field.metadata}
    lower = f" from {bounds['Ge'].ge}" if "Ge" in bounds else " above 0" if "Gt" in bounds else ""
    return lower + (f"{' to' if 'Ge' in bounds else ', at most'} {bounds['Le'].le}" if "Le" in bounds else "")
