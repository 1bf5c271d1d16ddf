"""Answers a JSON-RPC message that is too large or invalid to be parsed.

The caller waits for an answer with its id. The id is searched at both ends of the message, where clients write it; what
is in between is not read.
"""

from __future__ import annotations

import json
import re
from typing import cast

from outspool.errors import InvalidArgument, OutspoolError

_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600
REFUSED = "outspool/refused"
"""The argument of a `build_rejected_call`; no tool has one of this name."""
_ANY_TOOL = "list_templates"

EDGE_BYTES = 2_000
"""How much of each end of a message is searched for its id."""

_ID = rb'"id"\s*+:\s*+("(?:[^"\\]++|\\.){0,200}+"|-?[0-9]{1,18}+)'
_METHOD = rb'"method"\s*+:\s*+"([^"\\]{1,100}+)"'
_OTHER = rb'"(?:jsonrpc|method|id)"\s*+:\s*+(?:"[^"\\]{0,200}+"|-?[0-9]{1,18}+)'
_BEFORE = rb"\A\s*+\{\s*+(?:" + _OTHER + rb"\s*+,\s*+){0,2}?"
_AFTER = rb"\s*+(?:,\s*+" + _OTHER + rb"\s*+){0,2}+\}\s*+\Z"


def build_error_response(message: bytes, error: OutspoolError) -> bytes | None:
    """Return the JSON-RPC response to `message` with `error`; None if it expects none.

    A tool call gets an error result, as from the tool itself; other requests get a protocol error.
    """
    method, request_id = _member(_METHOD, message), _request_id(message)
    if method is not None and method.startswith(b"notifications/"):
        return None
    answer: dict[str, object] = {"jsonrpc": "2.0", "id": request_id}
    if is_tool_call(message):
        content = [{"type": "text", "text": str(error)}]
        answer["result"] = {"content": content, "isError": True, "resultType": "complete"}
    else:
        code = _PARSE_ERROR if isinstance(error, InvalidArgument) else _INVALID_REQUEST
        answer["error"] = {"code": code, "message": str(error)}
    return json.dumps(answer).encode()


def is_tool_call(message: bytes) -> bool:
    """Tell whether `message` is a tool call with an id."""
    return _member(_METHOD, message) == b"tools/call" and _request_id(message) is not None


def build_rejected_call(message: bytes) -> bytes:
    """Return a small call with the id of `message`, which every tool rejects as too large.

    For transports through which only the SDK can answer.
    """
    params = {"name": _ANY_TOOL, "arguments": {REFUSED: True}}
    call = {"jsonrpc": "2.0", "id": _request_id(message), "method": "tools/call", "params": params}
    return json.dumps({name: value for name, value in call.items() if value is not None}).encode()


def invalid_json_error() -> InvalidArgument:
    """Return the error for a message that cannot be parsed."""
    return InvalidArgument("The message is not JSON that can be read.", "Send one JSON-RPC 2.0 object, in UTF-8.")


def _request_id(message: bytes) -> str | int | None:
    request_id = _member(_ID, message)
    try:
        return None if request_id is None else cast("str | int", json.loads(request_id))
    except ValueError:
        return None


def _member(pattern: bytes, message: bytes) -> bytes | None:
    """Return what `pattern` matches in the first or last members of the outermost object."""
    head, tail = message[:EDGE_BYTES], message[-EDGE_BYTES:]
    found = re.search(_BEFORE + pattern, head) or re.search(pattern + _AFTER, tail)
    return found[1] if found else None
