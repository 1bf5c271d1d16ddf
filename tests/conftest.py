"""Fixtures for every suite: the databases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.postgres import PostgresServer, fresh_database
from support.s3 import S3Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, or all wait for the last of it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def postgres_admin_url() -> Iterator[str]:
    """Return the URL of the server on which tests get their databases: `TEST_DATABASE_URL`, or one of our own."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with PostgresServer() as server:
        yield server.url()


@pytest.fixture
def postgres_url(postgres_admin_url: str) -> Iterator[str]:
    """Return the URL of an empty Postgres database, dropped after the test."""
    with fresh_database(postgres_admin_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of an SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'outspool.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of an empty database, once on SQLite and once on Postgres."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """Return a running server that no other test uses: stop it, restart it, crash it."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return a running S3 server that tests share: do not stop it."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[S3Server]:
    """Return a running S3 server that no other test uses: stop it, start it again."""
    folder = tmp_path / "own-s3"
    folder.mkdir()
    with S3Server(folder) as server:
        yield server
