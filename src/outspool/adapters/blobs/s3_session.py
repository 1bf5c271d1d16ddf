"""The HTTP below the S3 client: it goes nowhere but where the operator sends it, and waits for nothing without end.

aiobotocore lets aiohttp follow redirects: whoever answers in the bucket's name could have an upload sent to a server of
his own. What S3 redirects, the client signs anew and sends again, above HTTP. It also lets a server that says nothing
hold an upload for ever, before the first byte (``Expect: 100-continue``) or between any two.

Loads aiohttp, so it is imported when the first connection is opened.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from aiobotocore.httpsession import AIOHTTPSession

REQUEST_SECONDS = 60.0
"""The longest from a request's first byte to its answer's head; one request carries one part of an upload at most."""


class SteadySession(AIOHTTPSession):  # type: ignore[misc] # it has no types
    """The session that the S3 client sends its requests through."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)

        async def request(method: str, *, headers: Any, **options: Any) -> Any:
            headers.pop("Expect", None)
            async with asyncio.timeout(REQUEST_SECONDS):
                return await session.request(method, headers=headers, allow_redirects=False, **options)

        return SimpleNamespace(request=request)
