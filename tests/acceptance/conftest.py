"""Fixtures: whole outspool processes with a real database, a real SMTP server and real MCP clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from _pytest.mark import ParameterSet
from support.command_line import Inside
from support.postgres import fresh_database
from support.stage import OpenStage, Stage, open_stage

ROUTES = [
    ("stdio", "legacy"),
    ("stdio", "auto"),
    ("sse", "legacy"),
    ("sse", "auto"),
    ("streamable-http", "legacy"),
    ("streamable-http", "auto"),
]
"""Every transport in both protocol eras; "auto" is the modern one wherever the server speaks it."""


@pytest.fixture(scope="session")
def sqlite_stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStage]:
    """Return a function that opens stages on SQLite."""
    with ExitStack() as stack:

        def opened(kind: str) -> Stage:
            folder = tmp_path_factory.mktemp(f"{kind}-sqlite")
            url = f"sqlite:///{folder / 'outspool.db'}"
            return stack.enter_context(open_stage(folder, url, serves_http=kind == "http"))

        yield cache(opened)


@pytest.fixture(scope="session")
def postgres_stages(tmp_path_factory: pytest.TempPathFactory, postgres_admin_url: str) -> Iterator[OpenStage]:
    """Return a function that opens stages on Postgres."""
    with ExitStack() as stack:

        def opened(kind: str) -> Stage:
            folder = tmp_path_factory.mktemp(f"{kind}-postgres")
            url = stack.enter_context(fresh_database(postgres_admin_url))
            return stack.enter_context(open_stage(folder, url, serves_http=kind == "http"))

        yield cache(opened)


@pytest.fixture(params=["sqlite", "postgres"])
def stages(request: pytest.FixtureRequest) -> OpenStage:
    """Return the stages on every database."""
    opener: OpenStage = request.getfixturevalue(f"{request.param}_stages")
    return opener


PATHS = [
    *((*route, database) for database in ("sqlite", "postgres") for route in ROUTES if route[0] != "stdio"),
    ("stdio", "legacy", "sqlite"),
    ("stdio", "auto", "postgres"),
]
"""Every route to every database. Over stdio each test starts a program, so there an era meets one of them."""

_SLOW_PATHS = [
    ("sse", "legacy", "sqlite"),
    ("sse", "auto", "postgres"),
    ("streamable-http", "legacy", "postgres"),
    ("streamable-http", "auto", "sqlite"),
]
"""`make test` takes each route to one of the databases; these pairs are left to `make test-long`."""


def _choose(transports: tuple[str, ...], era: str = "") -> list[ParameterSet]:
    """Return the paths over these transports, and of one era if it is given."""
    return [
        pytest.param(path, marks=[pytest.mark.slow] if path in _SLOW_PATHS else [], id="-".join(path))
        for path in PATHS
        if path[0] in transports and path[1].startswith(era)
    ]


_ALL = ("stdio", "sse", "streamable-http")


@pytest.fixture(params=_choose(_ALL))
def stage(request: pytest.FixtureRequest) -> Stage:
    """Return a running outspool to be reached by every transport, in every era, on every database."""
    return _stage(request, *request.param)


@pytest.fixture(params=_choose(_ALL, "legacy"))
def early(request: pytest.FixtureRequest) -> Stage:
    """Return an outspool reached by a client of the handshake era."""
    return _stage(request, *request.param)


# SSE belongs to the handshake era: over it "auto" is that era too.
@pytest.fixture(params=_choose(("stdio", "streamable-http"), "auto"))
def late(request: pytest.FixtureRequest) -> Stage:
    """Return an outspool reached by a client of the later era."""
    return _stage(request, *request.param)


@pytest.fixture(params=[("stdio", "legacy", "sqlite"), ("streamable-http", "auto", "postgres")], ids="-".join)
def far_apart(request: pytest.FixtureRequest) -> Stage:
    """Return the two stages that have least in common, for what goes the way that others were tried on already."""
    return _stage(request, *request.param)


def _stage(request: pytest.FixtureRequest, transport: str, era: str, database: str) -> Stage:
    opened: OpenStage = request.getfixturevalue(f"{database}_stages")
    return opened("stdio" if transport == "stdio" else "http").reached_by(transport, era)


@pytest.fixture
def stdio(sqlite_stages: OpenStage) -> Stage:
    """Return the stage for what depends on a program of its own, or on being near its client."""
    return sqlite_stages("stdio").reached_by("stdio", "auto")


@pytest.fixture
def served(sqlite_stages: OpenStage) -> Stage:
    """Return the stage for what depends on neither transport nor database: all these tests share one program."""
    return sqlite_stages("http").reached_by("streamable-http", "auto")


@pytest.fixture
def inside(stdio: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Return what runs commands in this process."""
    return Inside(stdio, monkeypatch, capsys)
