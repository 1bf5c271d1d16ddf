"""Reads a tool's arguments, and says everything that is wrong with them in one refusal.

Pydantic's own text repeats the values and links to its documentation; a model needs the name, the expectation and, for
a misspelt argument, the right name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import ValidationError

from outspool.api.argument_hints import suggest
from outspool.api.client_metadata import drop_metadata
from outspool.api.requests import Arguments, AttachmentArguments, provided_fields
from outspool.domain.refusals import RefusalCollector
from outspool.domain.schedule import When
from outspool.errors import InvalidArgument, brief
from outspool.services.acceptance.series import check_times
from outspool.services.acceptance.validation import check_fields

_NAMED = 5
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


_ADDRESSES = frozenset({"to", "cc", "bcc", "reply_to"})
_LISTS_OF_OBJECTS = frozenset({"attachments", "emails"})

A = TypeVar("A", bound=Arguments)


def read_call(
    model: type[A], arguments: Mapping[str, Any], *, untouched: str = "", elsewhere: Mapping[str, str] | None = None
) -> A:
    """Return the arguments of a call as `read_arguments` does, without what clients add by themselves."""
    given = drop_metadata(arguments, model.names())
    return read_arguments(model, given, untouched=untouched, elsewhere=elsewhere)


def read_arguments(
    model: type[A], arguments: Mapping[str, Any], *, untouched: str = "", elsewhere: Mapping[str, str] | None = None
) -> A:
    """Return arguments as an instance of `model`.

    Raises `InvalidArgument`, naming every fault that can be known without the settings and the time. `untouched` says
    what did not happen, e.g. "Nothing was sent."; `elsewhere` maps arguments that this tool lacks to the tool that has
    them, or to a sentence.
    """
    known, faults = model.names(), RefusalCollector()
    # Unknown names are kept from pydantic, which would make an error for each.
    kept = {name: arguments[name] for name in known if name in arguments}
    _collect_unknown([name for name in arguments if name not in kept], known, elsewhere or {}, faults)
    parsed, wrong = _validate(model, kept)
    missing = {
        *model.missing(kept),
        *(str(e["loc"][0]) for e in wrong if e["type"] == "missing" and len(e["loc"]) == 1),
    }
    _collect_missing([name for name in known if name in missing], model, faults)
    _collect_wrong([e for e in wrong if e["loc"][0] not in missing], faults)
    if parsed is not None and not faults:
        return parsed
    _collect_later(model, {n: v for n, v in kept.items() if n not in {e["loc"][0] for e in wrong}}, faults)
    faults.raise_any(untouched)
    raise AssertionError("a call without faults is valid")  # pragma: no cover


def _validate(model: type[A], arguments: Mapping[str, Any]) -> tuple[A | None, Sequence[Any]]:
    """Return the instance, or None and pydantic's errors."""
    try:
        return model.model_validate(arguments), ()
    except ValidationError as error:
        return None, error.errors(include_url=False, include_context=True, include_input=False)


def _collect_unknown(
    unknown: Sequence[str], known: Sequence[str], elsewhere: Mapping[str, str], faults: RefusalCollector
) -> None:
    """Add each unknown argument with what was meant; those that the same sentence answers stand together."""
    by_hint: dict[str, list[str]] = {}
    for name in unknown[:_NAMED]:
        by_hint.setdefault(suggest(name, known, elsewhere), []).append(brief(name, 40))
    rest = "…" if len(unknown) > _NAMED else ""
    for hint, names in by_hint.items():
        noun = "unknown argument" if len(names) == 1 and not rest else "unknown arguments"
        faults.add(InvalidArgument, f"{noun} {', '.join(names)}{rest}.", hint)


def _collect_missing(missing: Sequence[str], model: type[Arguments], faults: RefusalCollector) -> None:
    if plain := [name for name in missing if name not in model.alternatives]:
        *others, last = plain
        names = f"{', '.join(others)} and {last}" if others else last
        faults.add(InvalidArgument, f"{names} {'are' if others else 'is'} required.")
    for name in missing:
        if name in model.alternatives:
            faults.add(InvalidArgument, *model.alternatives[name])


def _collect_wrong(wrong: Sequence[Any], faults: RefusalCollector) -> None:
    unknown = [str(error["loc"][-1]) for error in wrong if error["type"] == "extra_forbidden"]
    _collect_unknown(unknown, AttachmentArguments.names(), {}, faults)
    for error in wrong:
        location = error["loc"]
        if error["type"] == "extra_forbidden":
            continue
        if error["type"] == "list_type" and location[-1] in _LISTS_OF_OBJECTS:
            faults.add(InvalidArgument, f"{location[-1]} must be a list of objects.")
        else:
            expected = _expectation(error["type"], error.get("ctx", {}))
            if error["type"] == "string_type" and location[0] in _ADDRESSES and len(location) > 1:
                expected += ' like "Ada <ada@example.com>"'
            faults.add(InvalidArgument, f"{_path(location)} {expected}.")


def _collect_later(model: type[Arguments], valid: Mapping[str, Any], faults: RefusalCollector) -> None:
    """Add what would be refused later in the arguments that have the right type."""
    parsed, _ = _validate(model, {**model.placeholders, **valid})
    if parsed is None:
        return
    fields = {name: value for name, value in provided_fields(parsed).items() if value}
    check_fields(fields, faults)
    if "scheduled_at" in model.model_fields and "email_id" not in model.model_fields:
        check_times(When(**{name: fields[name] for name in When.__slots__ if name in fields}), faults)


def _path(location: Sequence[int | str]) -> str:
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
