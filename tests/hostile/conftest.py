"""Fixtures for bad input through the tools, on every database, to a real SMTP server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from support.front import Front, front
from support.postgres import fresh_database
from support.smtp_sink import SmtpSink

FILES = "files"
TEMPLATES = "templates"


@pytest_asyncio.fixture(
    scope="session", loop_scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)]
)
async def face(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Return the tools on each database; the whole suite shares what is behind them.

    Bad input is refused before the database sees it, so Postgres is left to `make test-long`.

    Files may be sent from `FILES`, and templates lie in `TEMPLATES`, both in the data directory's parent.
    """
    folder: Path = tmp_path_factory.mktemp(f"hostile-{request.param}")
    for name in ("smtp", FILES, TEMPLATES):
        (folder / name).mkdir()
    async with AsyncExitStack() as stack:
        url = f"sqlite:///{folder / 'outspool.db'}"
        if request.param == "postgres":
            url = stack.enter_context(fresh_database(request.getfixturevalue("postgres_admin_url")))
        sink = stack.enter_context(SmtpSink(folder / "smtp"))
        yield await stack.enter_async_context(
            front(
                folder / "data",
                sink,
                url,
                EMAIL_ATTACHMENT_ROOTS=str(folder / FILES),
                EMAIL_TEMPLATE_DIR=folder / TEMPLATES,
                EMAIL_MAX_MESSAGE_MB="4",
            )
        )


@pytest.fixture
def files(face: Front) -> Path:
    """Return the folder that files may be sent from."""
    return Path(face.app.settings.attachment_roots[0])


@pytest.fixture
def templates(face: Front) -> Path:
    """Return the folder of the operator's templates."""
    return face.app.settings.templates_dir
