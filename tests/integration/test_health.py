"""`/healthz` says that the process lives, whatever becomes of its database."""

from __future__ import annotations

from pathlib import Path

import httpx
from support.postgres import PostgresServer
from support.smtp_sink import SmtpSink
from support.stage import serving
from support.variables import environment


def test_health_answers_while_the_database_is_down_from_the_start_or_later(
    tmp_path: Path, sink: SmtpSink, own_postgres: PostgresServer
) -> None:
    with serving(environment(tmp_path, sink, own_postgres.url()), tmp_path) as (url, _):
        own_postgres.stop()
        assert (answer := httpx.get(f"{url}/healthz")).json() == {"status": "ok"}
        assert answer.status_code == httpx.codes.OK
    with serving(environment(tmp_path, sink, own_postgres.url()), tmp_path) as (url, _):  # it waits for this answer
        assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}
    assert "Nothing is sent meanwhile." in (tmp_path / "serve.log").read_text()
