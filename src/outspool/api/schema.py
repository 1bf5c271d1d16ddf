"""JSON schemas of tools, kept small because models read them on every turn."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from outspool.api.requests import BRIEF, Arguments

_NOISE = frozenset({"title", "additionalProperties"})
_EXPLANATIONS = frozenset({"description", "enum"})
_NULL = {"type": "null"}
_ANY = {"minLength": 0}
"""Any value. The empty schema says the same, but looks like a forgotten one to the MCP inspector."""


def input_schema(model: type[Arguments], *, explained: type[Arguments] | None = None) -> dict[str, Any]:
    """Return the schema of the arguments. No ``additionalProperties`` is a boolean: Gemini's client cannot load it.

    Optional arguments can be left out, so they are not nullable, unless a converter to OpenAI's strict mode would
    require them: it does so in a schema without open objects. Arguments that `explained` also has are explained by
    another tool: here they have name, type and a short description, and objects no properties.
    """
    schema = model.model_json_schema(by_alias=True)
    properties = schema["properties"]
    for name in set(explained.names() if explained else ()) & properties.keys():
        short = _short_description(name, properties[name].get("description", ""))
        properties[name] = {**_strip_descriptions(properties[name]), "description": short}
    compacted: dict[str, Any] = _open(_compact(schema, keep_required=True))
    required = model.published_as_required() & properties.keys()
    if required:
        compacted["required"] = [name for name in properties if name in required]
    if not _has_open_object(compacted["properties"]):
        compacted["properties"] = {
            name: node if name in required else _make_nullable(node) for name, node in compacted["properties"].items()
        }
    return compacted


def output_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of the result, without listing required fields."""
    return _compact(model.model_json_schema(by_alias=True, mode="serialization"), keep_required=False)


def _strip_descriptions(node: Any) -> Any:
    """Remove descriptions, and the properties of objects."""
    if isinstance(node, list):
        return [_strip_descriptions(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node or node.get("type") == "object":
        values = node.get("additionalProperties")
        return {"type": "object", **({"additionalProperties": values} if isinstance(values, dict) else {})}
    return {key: _strip_descriptions(value) for key, value in node.items() if key not in _EXPLANATIONS}


def _compact(schema: dict[str, Any], *, keep_required: bool) -> dict[str, Any]:
    """Remove titles, empty defaults, docstrings and references."""
    definitions = schema.pop("$defs", {})
    noise = _NOISE if keep_required else _NOISE | {"required"}
    compacted: dict[str, Any] = _strip(schema, definitions, noise)
    compacted.pop("description", None)
    return compacted


def _strip(node: Any, definitions: dict[str, Any], noise: frozenset[str]) -> Any:
    if isinstance(node, list):
        return [_strip(item, definitions, noise) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = {k: v for k, v in definitions[node["$ref"].rsplit("/", 1)[1]].items() if k != "description"}
        return _strip({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions, noise)
    if _NULL in node.get("anyOf", ()) and "default" in node:
        return _strip(_remove_null(node), definitions, noise)
    return {
        # A property may itself be named "title", so names are kept.
        key: {k: _strip(v, definitions, noise) for k, v in value.items()}
        if key == "properties"
        else _strip(value, definitions, noise)
        for key, value in node.items()
        if key not in noise - _kept(value) and not (key == "default" and not value)
    }


def _open(node: Any) -> Any:
    """Say of objects without properties that they may have any: some clients close an object that says nothing."""
    if isinstance(node, list):
        return [_open(item) for item in node]
    if not isinstance(node, dict):
        return node
    opened = {key: _open(value) for key, value in node.items()}
    is_open = node.get("type") == "object" and "properties" not in node
    return {"additionalProperties": _ANY, **opened} if is_open else opened


def _kept(value: object) -> frozenset[str]:
    return frozenset() if isinstance(value, bool) else frozenset({"additionalProperties"})


def _has_open_object(node: Any) -> bool:
    if isinstance(node, list):
        return any(map(_has_open_object, node))
    if not isinstance(node, dict):
        return False
    return "additionalProperties" in node or any(map(_has_open_object, node.values()))


def _make_nullable(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that also takes null, in the form that pydantic itself writes."""
    outer: dict[str, Any] = {key: node[key] for key in ("description", "default") if key in node}
    return {"anyOf": [{key: value for key, value in node.items() if key not in outer}, _NULL], **outer}


def _short_description(name: str, description: str) -> str:
    return BRIEF.get(name) or description.partition(". ")[0]


def _remove_null(node: dict[str, Any]) -> dict[str, Any]:
    branches = [branch for branch in node["anyOf"] if branch != _NULL]
    remaining = {key: value for key, value in node.items() if key != "anyOf"}
    return {**branches[0], **remaining} if len(branches) == 1 else {**remaining, "anyOf": branches}
