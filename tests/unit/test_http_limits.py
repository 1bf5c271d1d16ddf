"""Limits of connections, and allowed host names."""

from __future__ import annotations

import pytest

from outspool.http.limits import connections_within
from outspool.http.names import AllowedNames


@pytest.mark.parametrize(("files", "connections"), [(None, 4096), (1_000_000, 4096), (1024, 896), (256, 128), (8, 16)])
def test_connections_leave_files_for_the_rest(files: int | None, connections: int) -> None:
    assert connections_within(files) == connections


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        ("mail.example.com", ["mail.example.com", "MAIL.example.com:8443"], ["mail.example.com.", "xmail.example.com"]),
        ("mail.example.com:8443", ["mail.example.com:8443"], ["mail.example.com", "mail.example.com:84431"]),
        ("mail.example.com:*", ["mail.example.com", "mail.example.com:1"], ["mail.example.com:*", "mail.example.com:"]),
        ("[::1]", ["[::1]", "[::1]:80"], ["[::1]:80:80", "[::1", "::1", "[::1]80", "[::1].evil.example"]),
        ("http://localhost", ["http://localhost:3000"], ["https://localhost", "http://localhost:3000/", "localhost"]),
        ("http://localhost", ["http://localhost"], ["http://localhost:70000", "http://localhost:\xb2", "null", ""]),
        (" Mail.Example.com ", ["mail.example.com"], [" mail.example.com"]),
    ],
)
def test_a_name_is_compared_whole_and_a_port_is_a_number(entry: str, allowed: list[str], refused: list[str]) -> None:
    names = AllowedNames([entry])
    assert [name for name in allowed if not names.allows(name)] == []
    assert [name for name in refused if names.allows(name)] == []
