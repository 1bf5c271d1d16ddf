"""JSON values are counted correctly without parsing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outspool.api.rpc_envelope import build_error_response, build_rejected_call, is_tool_call
from outspool.domain import json_limits
from outspool.domain.json_limits import MAX_DEPTH, MAX_VALUES, check_json, check_values
from outspool.errors import InvalidArgument, TooLarge

STRINGS = st.text(st.sampled_from('[]{},:"\\ aé\n'), max_size=8)
VALUES = st.recursive(
    st.none() | st.integers() | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=30,
)


def count(value: Any) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + sum(map(count, inner))


@given(VALUES, st.integers(1, 7))
def test_marks_in_strings_do_not_count(value: Any, chunk: int) -> None:
    written = json.dumps(value, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_limits, "_CHUNK", chunk)
        marks = b"".join(json_limits._find_punctuation(written))
    plain = json.dumps(value).encode()
    assert marks.count(b"[") == marks.count(b"]")
    assert marks.count(b"{") == marks.count(b"}")
    assert len(marks) - marks.count(b"]") - marks.count(b"}") <= 2 * count(value)
    assert marks == b"".join(json_limits._find_punctuation(plain))


def test_what_is_at_a_limit_passes_and_one_more_does_not() -> None:
    flat = [0] * (MAX_VALUES - 1)
    deep: Any = 0
    for _ in range(MAX_DEPTH):
        deep = [deep]
    for value in (flat, deep, {"a": deep[0]}, ["[" * 1_000_000], ['\\"[' * 1_000_000], {'"' * 100: "," * 1_000_000}):
        check_json(json.dumps(value).encode())
        check_values(value)
    for value in ([*flat, 0, 0], [deep], {"a": deep}, [[]] * MAX_VALUES, [{"a": 1}] * MAX_VALUES):
        with pytest.raises(TooLarge):
            check_json(json.dumps(value).encode())
        with pytest.raises(TooLarge):
            check_values(value)


CALL = b'"method": "tools/call", "params": {"name": "x", "arguments": {"id": 9, "method": "ping"}}'


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b'{"jsonrpc": "2.0", "id": 5, ' + CALL + b"}", 5),
        (b"{" + CALL + b', "jsonrpc": "2.0", "id": "a\\"b"}\n', 'a"b'),
        (b"{" + CALL + b', "id":-7}', -7),
        (b'{"id":3,"jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"to":' + b"[" * 5_000, 3),
        (b"{" + CALL + b', "id": null}', None),
        (b"{" + CALL + b"}", None),
        (b'{"id": "\\q", ' + CALL + b"}", None),
        (b'[{"id": 1}]', None),
        (b"\xff\x00", None),
        (b"", None),
    ],
)
def test_an_answer_has_the_id_of_the_message_and_of_nothing_in_it(message: bytes, expected: object) -> None:
    answer = json.loads(build_error_response(message, InvalidArgument("No.", "Yes.")) or b"{}")
    assert answer["id"] == expected
    assert is_tool_call(message) == (expected is not None)
    assert ("result" in answer) == (expected is not None)
    assert json.loads(build_rejected_call(message)).get("id") == expected


def test_a_notification_is_not_answered() -> None:
    assert (
        build_error_response(b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"id":1}}', TooLarge("x"))
        is None
    )
