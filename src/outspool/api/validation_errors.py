"""Turns pydantic's validation errors into one sentence.

Pydantic's own text repeats the values and links to its documentation; a model needs the name, the expectation and, for
a misspelt argument, the right name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from outspool.api.requests import AttachmentArguments
from outspool.errors import InvalidArgument, brief

_SYNONYMS: Mapping[str, str] = MappingProxyType(
    {
        "text": "body",
        "content": "body",
        "message": "body",
        "recipient": "to",
        "recipients": "to",
        "sender": "from",
        "from_email": "from",
        "send_at": "scheduled_at",
        "send_time": "scheduled_at",
        "when": "scheduled_at",
        "cron": "recurrence",
        "repeat": "recurrence",
        "rrule": "recurrence",
        "ends_at": "until",
        "end": "until",
        "id": "email_id",
        "message_id": "email_id",
        "search": "query",
        "files": "attachments",
        "name": "filename",
        "file": "path",
        "url": "path",
        "data": "content",
        "base64": "content",
        "mime_type": "content_type",
        "type": "content_type",
        "cid": "content_id",
    }
)
"""Right names for common wrong ones that are not similar in spelling."""

_NAMED = 3
"""Most unknown arguments named in one error."""

_EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "missing": "is required",
        "string_type": "must be a string",
        "list_type": "must be a list of strings",
        "dict_type": "must be an object",
        "model_type": 'must be an object like {"filename": "a.csv", "text": "x,y"}',
        "bool_type": "must be true or false",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_type": "must be a number",
        "finite_number": "must be a finite number",
    }
)


def check_names(
    arguments: Mapping[str, Any], model: type[BaseModel], *, untouched: str, elsewhere: Mapping[str, str]
) -> None:
    """Raise `InvalidArgument` for unknown arguments, before pydantic makes an error for each.

    `untouched` and `elsewhere` as in `explain_validation_error`.
    """
    known = _names(model)
    if unknown := [name for name in arguments if name not in known]:
        raise _unknown_error(unknown, known, untouched, elsewhere)


def explain_validation_error(
    error: ValidationError, model: type[BaseModel], *, untouched: str, elsewhere: Mapping[str, str]
) -> InvalidArgument:
    """Return one error for what pydantic found in the arguments of `model`.

    `untouched` says what did not happen, e.g. "Nothing was sent."; `elsewhere` maps arguments that this tool lacks to
    the tool that has them.
    """
    found = error.errors(include_url=False, include_context=True, include_input=False)
    misplaced = [e["loc"] for e in found if e["type"] == "extra_forbidden"]
    if misplaced:
        (depth, enclosing), unknown = (
            _find_enclosing(misplaced[0], model),
            [str(location[-1]) for location in misplaced],
        )
        return _unknown_error(unknown, _names(enclosing), untouched, elsewhere if depth == 0 else {})
    missing = [_path(e["loc"]) if e["loc"] else e["msg"] for e in found if e["type"] == "missing"]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return InvalidArgument(f"{' and '.join(missing)} {verb} required.", untouched)
    first = found[0]
    if first["loc"] == ("attachments",):
        return InvalidArgument("attachments must be a list of objects.", untouched)
    return InvalidArgument(f"{_path(first['loc'])} {_expectation(first['type'], first.get('ctx', {}))}.", untouched)


def _unknown_error(
    unknown: list[str], known: list[str], untouched: str, elsewhere: Mapping[str, str]
) -> InvalidArgument:
    name = unknown[0]
    noun = "unknown argument" if len(unknown) == 1 else "unknown arguments"
    rest = "…" if len(unknown) > _NAMED else ""
    message = f"{noun} {', '.join(brief(n, 40) for n in unknown[:_NAMED])}{rest}."
    near, others = _nearest(name, known), _nearest(name, elsewhere)
    if near and name not in others:
        suggestion = f"Did you mean {' or '.join(brief(n) for n in near)}?"
    elif others:
        suggestion = f"{brief(others[0])} is an argument of {elsewhere[others[0]]}: call that instead."
    else:
        suggestion = f"Known are: {', '.join(known)}."
    return InvalidArgument(message, f"{suggestion} {untouched}".rstrip())


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the one or two of `known` that `name` most likely means."""
    names = list(known)
    lower = name[:60].strip().lower().replace("-", "_")
    if _SYNONYMS.get(lower) in names:
        return [_SYNONYMS[lower]]
    return [lower] if lower in names else get_close_matches(lower, names, n=2, cutoff=0.6)


def _find_enclosing(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[int, type[BaseModel]]:
    """Return how deep a location is in the arguments, and the model that contains it."""
    return (0, model) if len(location) == 1 else (1, AttachmentArguments)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _path(location: tuple[int | str, ...]) -> str:
    """Format ("to", 1) as ``to[1]``; keys of objects are the caller's words, so they are quoted."""
    first, *rest = location
    steps = (f"[{step}]" if isinstance(step, int) else f"[{brief(step, 40)}]" for step in rest if step != "[key]")
    return str(first) + "".join(steps)


def _expectation(kind: str, context: Mapping[str, Any]) -> str:
    match kind:
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case "less_than_equal":
            return f"must be at most {context['le']:g}"
        case "literal_error":
            return f"must be one of {str(context['expected']).replace(chr(39), '')}"
    return _EXPECTED.get(kind, "has the wrong type or value")
