"""`outspool serve` with a test's limits and without an outbox: ``python limited_server.py PORT LIMITS``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from outspool.cli.runs import configure_logging
from outspool.http.asgi import build_app
from outspool.http.limits import HttpLimits
from outspool.http.serve import serve
from outspool.mcp.server import build_server
from outspool.services.acceptance.outbox import Outbox


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def main() -> None:
    """Serve until told to stop."""
    configure_logging(is_worker=True)
    limits = HttpLimits(**json.loads(sys.argv[2]))
    app = build_app(
        build_server(lambda _name, _version: cast("Outbox", None)), lifespan_context=_nothing, limits=limits
    )
    asyncio.run(serve(app, "127.0.0.1", int(sys.argv[1]), limits=limits))


if __name__ == "__main__":
    main()
