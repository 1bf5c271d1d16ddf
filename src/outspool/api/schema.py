"""JSON schemas of tools, kept small because models read them on every turn."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_NOISE = frozenset({"title"})
_EXPLANATIONS = frozenset({"description", "enum"})
_NULL = {"type": "null"}


def input_schema(model: type[BaseModel], *, explained: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return the schema of the arguments. Optional arguments can be left out, so they are not nullable.

    Arguments that `explained` also has are described by another tool: here they have only name and type, and objects no
    properties.
    """
    schema = model.model_json_schema(by_alias=True)
    described = {field.alias or name for name, field in explained.model_fields.items()} if explained else set()
    for name in described & schema["properties"].keys():
        schema["properties"][name] = _strip_descriptions(schema["properties"][name])
    return _compact(schema, keep_required=True)


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
        return {"type": "object"}
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
        if key not in noise and not (key == "default" and not value)
    }


def _remove_null(node: dict[str, Any]) -> dict[str, Any]:
    branches = [branch for branch in node["anyOf"] if branch != _NULL]
    remaining = {key: value for key, value in node.items() if key != "anyOf"}
    return {**branches[0], **remaining} if len(branches) == 1 else {**remaining, "anyOf": branches}
