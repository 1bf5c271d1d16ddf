"""Whole programs on a real database, a real SMTP server beside them, and real MCP clients in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest
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


@pytest.fixture(params=ROUTES, ids="-".join)
def stage(request: pytest.FixtureRequest, stages: OpenStage) -> Stage:
    """Return a running outspool to be reached by every transport, in every era, on every database."""
    transport, era = request.param
    return stages("stdio" if transport == "stdio" else "http").reached_by(transport, era)


@pytest.fixture(params=[("stdio", "legacy", "sqlite"), ("streamable-http", "auto", "postgres")], ids="-".join)
def far_apart(request: pytest.FixtureRequest) -> Stage:
    """Return the two stages that have least in common, for what goes the way that others were tried on already."""
    transport, era, database = request.param
    opened: OpenStage = request.getfixturevalue(f"{database}_stages")
    return opened("stdio" if transport == "stdio" else "http").reached_by(transport, era)


@pytest.fixture
def stdio(sqlite_stages: OpenStage) -> Stage:
    """Return the stage for what depends on neither transport nor database."""
    return sqlite_stages("stdio").reached_by("stdio", "auto")
