"""Fixtures for every suite: where an email store may live, an SMTP server, and an outspool between them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from support.postgres import PostgresServer, fresh_database
from support.s3 import S3Server
from support.smtp_sink import SmtpSink
from support.variables import variables

from outspool.app.runtime import Outspool
from outspool.app.settings import Settings
from outspool.ports.clock import Clock
from outspool.services.delivery.timings import Timings

# How long an example takes says how busy the machine is, not whether it is right.
hypothesis_settings.register_profile("outspool", deadline=None)
hypothesis_settings.load_profile("outspool")

OpenOutspool = Callable[..., AbstractAsyncContextManager[Outspool]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, or all wait for the last of it at the end."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("slow", "long")))


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


@pytest.fixture(scope="module")
def module_sink(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpSink]:
    """Return the SMTP server that the tests of a module share; see `sink`."""
    with SmtpSink(tmp_path_factory.mktemp("sink"), **request.module.SHARED_SINK) as server:
        yield server


@pytest.fixture
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmtpSink]:
    """Return an SMTP server in a process of its own.

    A module's constant `SINK` says how each is started, `SHARED_SINK` how the one that all its tests share.
    """
    if hasattr(request.module, "SHARED_SINK"):
        shared: SmtpSink = request.getfixturevalue("module_sink")
        shared.clear()
        yield shared
        return
    spool = tmp_path / "smtp"
    spool.mkdir()
    with SmtpSink(spool, **getattr(request.module, "SINK", {})) as server:
        yield server


@pytest.fixture
def outspool(sink: SmtpSink, database_url: str, tmp_path: Path) -> OpenOutspool:
    """Return what runs an outspool that delivers to `sink`; named settings go by their variables."""

    @asynccontextmanager
    async def run(
        *,
        worker: bool = True,
        clock: Clock | None = None,
        machine_clock: Clock | None = None,
        timings: Timings | None = None,
        **more: object,
    ) -> AsyncIterator[Outspool]:
        settings = Settings.load(variables(tmp_path, sink, database_url, **more))
        app = Outspool(settings, clock=clock, machine_clock=machine_clock, timings=timings)
        async with app.run(worker=worker):
            yield app

    return run
